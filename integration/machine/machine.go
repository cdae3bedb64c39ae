package machine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// Machine is one machine: a disk that outlives its boots, and at most one boot
// at a time. Its methods are for one goroutine, but for Run and what stands on
// it while the machine is up.
type Machine struct {
	host *Host
	id   string
	dir  string
	// lock is held as long as the machine exists: see Host.sweep.
	lock   *os.File
	lowers Layers

	mu   sync.Mutex
	boot *boot // nil when it is off
}

// boot is one life from power on to power off.
type boot struct {
	process *exec.Cmd // systemd-nspawn, or qemu
	leader  int       // the guest's PID 1, as the host counts; 0 in qemu
	cgroup  string    // the machine's control group
	dead    chan struct{}
	console
}

// New makes a machine that is off and whose disk reads like the layers. Each
// one is another machine to systemd: it has its own machine-id(5).
func (h *Host) New(layers Layers) (*Machine, error) {
	all, err := h.lockMachines()
	if err != nil {
		return nil, err
	}
	defer all.Close()
	id := strings.ToLower(rand.Text()[:10])
	m := &Machine{host: h, id: id, dir: filepath.Join(h.machinesDir(), id), lowers: layers}
	for _, d := range []string{m.root(), m.upper(), filepath.Join(m.upper(), "etc")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	if m.lock, err = lock(filepath.Join(m.dir, "lock"), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	var machineID [16]byte
	rand.Read(machineID[:])
	if err := os.WriteFile(filepath.Join(m.upper(), "etc/machine-id"), fmt.Appendf(nil, "%x\n", machineID), 0o444); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errors.Join(errClosed, m.remove())
	}
	h.machines[m] = struct{}{}
	return m, nil
}

var errClosed = errors.New("no more machines: the host was closed")

func (m *Machine) root() string  { return filepath.Join(m.dir, "root") }
func (m *Machine) upper() string { return filepath.Join(m.dir, "upper") }
func (m *Machine) work() string  { return filepath.Join(m.dir, "work") }

// withDisk is a shell that mounts the machine's disk for nobody but the
// command that it then becomes: the mount is in a namespace of its own and
// ends with its last process, so there is nothing to unmount, ever.
//
// "volatile" leaves out the syncs: the disk need not outlive the host's crash.
func (m *Machine) withDisk(command ...string) []string {
	options := fmt.Sprintf("volatile,lowerdir=%s,upperdir=%s,workdir=%s", strings.Join(m.lowers, ":"), m.upper(), m.work())
	script := `mount -t overlay -o "$1" overlay "$2" && shift 2 && exec "$@"`
	return append([]string{"unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", options, m.root()}, command...)
}

// cleanWork makes the overlay's scratch directory anew: "volatile" leaves a
// mark there that forbids a second mount.
func (m *Machine) cleanWork() error {
	return errors.Join(os.RemoveAll(m.work()), os.Mkdir(m.work(), 0o700))
}

// Boot powers the machine on and returns once systemd has finished its start,
// whether all units came up or not; [Machine.Running] tells.
func (m *Machine) Boot(ctx context.Context) error {
	m.host.mu.Lock()
	closed := m.host.closed
	m.host.mu.Unlock()
	if closed {
		return errClosed
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boot != nil {
		return errors.New("cannot boot the machine: it is on")
	}
	if err := m.cleanWork(); err != nil {
		return err
	}
	b := &boot{dead: make(chan struct{})}
	notices, err := listenNotify(m.id)
	if err != nil {
		return err
	}
	defer notices.Close()
	args := m.withDisk("systemd-nspawn", "--quiet", "--boot", "--directory="+m.root(), "--machine=hero-proc-"+m.id, "--hostname="+Hostname,
		// Neither machined nor the host's units are to know of it.
		"--register=no", "--keep-unit",
		"--private-network", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--settings=no",
		"--console=pipe", "--notify-ready=yes")
	b.process = exec.Command(args[0], args[1:]...)
	// The guest gets the one hierarchy, whatever the host has mounted.
	b.process.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "NOTIFY_SOCKET="+notices.address)
	b.process.Stdout, b.process.Stderr = &b.console, &b.console
	// A group of its own: Ctrl-C is for us, and we see to it. If we are
	// killed, it is too.
	b.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	done, err := m.host.ownCgroup(m.id, b.process)
	if err != nil {
		return err
	}
	err = b.start()
	done()
	if err != nil {
		return fmt.Errorf("cannot boot the machine: %w", err)
	}
	m.boot = b
	if err := m.started(ctx, notices); err != nil {
		err = fmt.Errorf("cannot boot the machine: %w\n%s", err, tail(b.console.String(), 40))
		return errors.Join(err, m.kill())
	}
	return nil
}

// start starts the machine's process and waits for it in the background. Its
// thread is locked, because Pdeathsig is sent when the thread that forked ends.
func (b *boot) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := b.process.Start()
		started <- err
		if err == nil {
			_ = b.process.Wait()
		}
		close(b.dead)
	}()
	return <-started
}

// started follows what systemd-nspawn and the guest's PID 1 say of the start.
func (m *Machine) started(ctx context.Context, notices *notices) error {
	b := m.boot
	stop := context.AfterFunc(ctx, notices.interrupt)
	defer stop()
	go func() {
		<-b.dead
		notices.interrupt()
	}()
	for {
		n, err := notices.next()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return errors.New("systemd-nspawn ended")
		}
		if n.leader != 0 {
			b.leader = n.leader
		}
		if n.ready {
			break
		}
	}
	if b.leader == 0 {
		return errors.New("systemd-nspawn did not tell the guest's PID")
	}
	group, err := m.host.cgroupOf(b.process.Process.Pid)
	if err != nil {
		return err
	}
	// systemd-nspawn has moved itself into a leaf of the group that it got.
	b.cgroup = strings.TrimSuffix(group, "/supervisor")
	return nil
}

// PowerOff shuts the machine down in good order: systemd stops all units.
func (m *Machine) PowerOff(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boot == nil {
		return nil
	}
	// systemd-nspawn(1) turns it into the power button.
	if err := m.boot.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.boot.dead:
	case <-ctx.Done():
		return fmt.Errorf("the machine does not shut down: %w\n%s", ctx.Err(), tail(m.boot.console.String(), 40))
	}
	return m.off()
}

// Reboot is power off and on again: /run is lost, the rest stays.
func (m *Machine) Reboot(ctx context.Context) error {
	if err := m.PowerOff(ctx); err != nil {
		return err
	}
	return m.Boot(ctx)
}

// Kill cuts the power: every process ends at once. What was written is on the
// disk, synced or not.
func (m *Machine) Kill() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kill()
}

func (m *Machine) kill() error {
	if m.boot == nil {
		return nil
	}
	if err := m.boot.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-m.boot.dead
	return m.off()
}

// off takes away what a boot leaves. The disk must not be mounted again before
// the last process of the guest is gone.
func (m *Machine) off() error {
	group := m.boot.cgroup
	if group == "" {
		group = m.host.cgroup(m.id)
	}
	m.boot = nil
	return m.host.removeCgroup(context.Background(), group)
}

// Freeze gives the disk of a machine that is off to others, as layers to stand
// on. The machine must not be used any more.
func (m *Machine) Freeze() (Layers, error) {
	if m.leader() != 0 {
		return nil, errors.New("cannot freeze the machine: it is on")
	}
	return append(Layers{m.upper()}, m.lowers...), nil
}

// Close cuts the power and removes the machine with its disk.
func (m *Machine) Close() error {
	m.host.mu.Lock()
	_, there := m.host.machines[m]
	delete(m.host.machines, m)
	m.host.mu.Unlock()
	if !there {
		return nil
	}
	return m.remove()
}

func (m *Machine) remove() error {
	err := m.Kill()
	err = errors.Join(err, os.RemoveAll(m.dir))
	m.lock.Close()
	return err
}

// leader is the host's PID of the guest's PID 1, 0 when the machine is off.
func (m *Machine) leader() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boot == nil {
		return 0
	}
	return m.boot.leader
}
