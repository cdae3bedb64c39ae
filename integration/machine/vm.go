package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// A machine can also be booted as a whole: qemu(1) emulates it, with a kernel
// and a disk of its own. That takes ten times as long as systemd-nspawn, and
// it is the only one whose power can be cut: what the guest's kernel has not
// written to its disk is lost.

const qemu = "qemu-system-x86_64"

// Bootable is [Host.Base] with a kernel, for machines that are emulated.
func (h *Host) Bootable(ctx context.Context) (Layers, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("cannot emulate machines on %s: only amd64 is known here", runtime.GOARCH)
	}
	for program, pkg := range map[string]string{qemu: "qemu-system-x86", "mkfs.ext4": "e2fsprogs"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("cannot emulate machines: %w; run: apt-get install %s", err, pkg)
		}
	}
	return h.tree(ctx, func(id string) (pkgs, hooks []string, err error) {
		kernel := "linux-image-cloud-amd64"
		if id == "ubuntu" {
			kernel = "linux-image-virtual"
		}
		return []string{kernel, "busybox-static", "cpio"}, []string{
			`chroot "$1" sh -ec '` + makeInitrd + `'`,
			`chroot "$1" systemctl mask ` + strings.Join(needless, " "),
		}, nil
	})
}

// makeInitrd makes an initrd that knows the way to the one disk and nothing
// else: a general one takes longer than all of systemd when it is emulated.
const makeInitrd = `
	d=$(mktemp -d); version=$(ls /lib/modules); mkdir $d/dev $d/disk
	cp /bin/busybox $d/
	printf "#!/busybox sh\nset -e\n/busybox mount -t devtmpfs dev /dev\n" >$d/init
	for module in virtio_pci virtio_blk ext4; do
		modprobe --set-version $version --show-depends $module
	done | while read what file rest; do
		[ $what = insmod ] || continue
		name=$(basename $file)
		[ -e $d/$name ] || echo "/busybox insmod /$name" >>$d/init
		cp $file $d/
	done
	printf "/busybox mount -t ext4 /dev/vda /disk\nexec /busybox switch_root /disk /sbin/init\n" >>$d/init
	chmod 755 $d/init
	(cd $d && find . | cpio --quiet -o -H newc) >/boot/initrd
	rm -r $d`

// needless are units that look for devices and users, of which there are no others.
var needless = []string{
	"systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udev-trigger.service",
	"systemd-binfmt.service", "systemd-logind.service", "systemd-pstore.service", "systemd-modules-load.service", "kmod-static-nodes.service",
	"systemd-sysusers.service", "systemd-tmpfiles-setup-dev.service", "systemd-tmpfiles-clean.timer", "systemd-random-seed.service",
	"systemd-user-sessions.service", "systemd-update-utmp-runlevel.service", "systemd-sysctl.service", "modprobe@.service",
	"dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
	"systemd-ask-password-console.path", "systemd-ask-password-wall.path",
}

func (m *Machine) image() string { return filepath.Join(m.dir, "disk.img") }

// MakeImage makes the disk for Emulate, an ext4 file system with what the
// machine's disk has now. The machine must be off.
func (m *Machine) MakeImage(ctx context.Context) error {
	if m.leader() != 0 {
		return errors.New("cannot make a disk image of the machine: it is on")
	}
	if err := m.cleanWork(); err != nil {
		return err
	}
	args := m.withDisk("mkfs.ext4", "-q", "-F", "-d", m.root(), m.image(), "2G")
	if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot make a disk image of the machine: %w\n%s", err, out)
	}
	return nil
}

// Emulate powers the machine on, with the disk of MakeImage as the last power
// cut ([Machine.Kill]) has left it. It answers at once with what the guest
// writes to /dev/ttyS1, as it does so; its end is the machine's. parameters
// are added to the kernel's. Of the other methods only Kill and Close are for
// an emulated machine.
func (m *Machine) Emulate(parameters ...string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boot != nil {
		return nil, errors.New("cannot boot the machine: it is on")
	}
	files := filepath.Join(m.lowers[len(m.lowers)-1], "boot")
	kernels, err := filepath.Glob(filepath.Join(files, "vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return nil, fmt.Errorf("cannot boot the machine: there is not one kernel in %s: %q, %v", files, kernels, err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	b := &boot{dead: make(chan struct{})}
	b.process = exec.Command(qemu,
		// The host may be a virtual machine itself, without KVM. A second
		// processor would cost half as much again, and be little faster.
		"-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none",
		"-kernel", kernels[0], "-initrd", filepath.Join(files, "initrd"),
		"-append", strings.Join(append([]string{
			"console=ttyS0", "loglevel=4", "systemd.show_status=1", "mitigations=off", "audit=0", "apparmor=0", "panic=-1",
		}, parameters...), " "),
		// What qemu has written lies with the host's kernel, and outlives a
		// killed qemu: so the guest's flushes need not be carried on to the
		// host's disk. What a power cut loses is what the guest's kernel had
		// not written, as on a real machine whose disk has no cache.
		"-drive", "file="+m.image()+",format=raw,if=virtio,cache=unsafe",
		"-chardev", "stdio,id=out,signal=off", "-chardev", "file,id=console,path="+m.consoleLog(),
		"-serial", "chardev:console", "-serial", "chardev:out")
	b.process.Stdout, b.process.Stderr = write, &b.console
	b.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := b.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot boot the machine: %w", err), read.Close())
	}
	m.boot = b
	return read, nil
}

func (m *Machine) consoleLog() string { return filepath.Join(m.dir, "console.log") }

// ConsoleLog is the end of what the emulated machine's kernel and systemd have
// printed since the machine was last powered on.
func (m *Machine) ConsoleLog() string {
	text, err := os.ReadFile(m.consoleLog())
	if err != nil {
		return err.Error()
	}
	return tail(string(text), 60)
}
