package client

// SSHCommand is for the test of what it refuses.
var SSHCommand = sshCommand
