// SPDX-License-Identifier: Apache-2.0

// Command init is PID 1 of a guest. In the initial file system it loads the
// modules that lie beside it and changes to the disk. There it mounts what a
// host has mounted, runs the programs that tasks.json beside it names, prints
// their exit statuses and resets the machine, which ends it.
//
// The kernel parameter vm.host says what host the machine is to be: unified
// or legacy, which is about the cgroup hierarchies, or systemd: then there is a
// second disk with a Debian, which becomes the root with the first one below
// /host; its systemd is PID 1 and runs this program for the tasks. Of a probe
// nothing more is wanted than that it has booted.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	err := run()
	if err != nil {
		say("vm: init: %v", err)
	}
	unix.Sync()
	// The machine is started with -no-reboot: this ends it.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	for { // PID 1 must not end
		time.Sleep(time.Hour)
	}
}

// onDiskAlready tells the disk from the initial file system.
func onDiskAlready() bool {
	_, err := os.Stat("/tasks.json")
	return err == nil
}

func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }

func run() error {
	if os.Getpid() == 1 && !onDiskAlready() {
		return fromInitramfs()
	}
	if os.Getpid() != 1 {
		return runTasks()
	}
	return onDisk()
}

// fromInitramfs loads the modules and changes to the disk.
func fromInitramfs() error {
	for _, m := range []mount{{"proc", "/proc", "proc", ""}, {"dev", "/dev", "devtmpfs", ""}} {
		if err := m.do(); err != nil {
			return err
		}
	}
	if parameter("vm.host") == "probe" {
		say("vm: booted")
		return nil
	}
	list, err := os.ReadFile("/modules/order")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(list)) {
		if err := load("/modules/" + name); err != nil {
			return err
		}
	}
	const root = "/disk"
	disks := []mount{{"/dev/vda", root, "ext4", ""}}
	next := "/init"
	if parameter("vm.host") == "systemd" {
		disks = []mount{{"/dev/vdb", root, "ext4", ""}, {"/dev/vda", root + "/host", "ext4", ""}}
		next = "/lib/systemd/systemd"
	}
	for _, d := range disks {
		if err := waitFor(d.source); err != nil {
			return err
		}
		if err := d.do(); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/proc", "/dev"} {
		if err := unix.Mount(dir, root+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("change to the disk: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return &os.PathError{Op: "execute", Path: next, Err: unix.Exec(next, []string{next}, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb"})}
}

func load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", file, err)
	}
	return nil
}

// waitFor waits for a device that the kernel is about to find.
func waitFor(device string) error {
	for range 1000 {
		if _, err := os.Stat(device); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("no %s", device)
}

type mount struct{ source, target, fstype, data string }

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.source, m.target, m.fstype, 0, m.data); err != nil {
		return fmt.Errorf("mount %s: %w", m.target, err)
	}
	return nil
}

// onDisk makes a host of the machine and runs the checks.
func onDisk() error {
	mounts := []mount{
		{"sysfs", "/sys", "sysfs", ""},
		{"tmpfs", "/run", "tmpfs", "mode=755"},
		{"devpts", "/dev/pts", "devpts", "mode=620,gid=5,ptmxmode=666"},
		{"tmpfs", "/dev/shm", "tmpfs", "mode=1777"},
	}
	switch kind := parameter("vm.host"); kind {
	case "unified":
		mounts = append(mounts, mount{"cgroup2", "/sys/fs/cgroup", "cgroup2", "nsdelegate"})
	case "legacy":
		mounts = append(mounts, mount{"tmpfs", "/sys/fs/cgroup", "tmpfs", "mode=755"})
		for _, c := range []string{"memory", "cpu,cpuacct", "pids", "devices", "blkio", "freezer"} {
			mounts = append(mounts, mount{"cgroup", "/sys/fs/cgroup/" + c, "cgroup", c})
		}
		mounts = append(mounts, mount{"cgroup", "/sys/fs/cgroup/systemd", "cgroup", "none,name=systemd"})
	default:
		return fmt.Errorf("unknown kind of host %q", kind)
	}
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	if err := loopback(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("guest")); err != nil {
		return err
	}
	return runTasks()
}

// task is one of tests/vm: what to run, with paths on the first disk.
type task struct {
	Name, Dir string
	Argv, Env []string
}

// runTasks runs the programs of tasks.json one after the other.
func runTasks() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir := filepath.Dir(self)
	data, err := os.ReadFile(filepath.Join(dir, "tasks.json"))
	if err != nil {
		return err
	}
	var tasks []task
	if err := json.Unmarshal(data, &tasks); err != nil {
		return fmt.Errorf("tasks.json: %w", err)
	}
	for _, t := range tasks {
		say("vm: task %s starts", t.Name)
		status, err := t.run(dir)
		if err != nil {
			return fmt.Errorf("task %s: %w", t.Name, err)
		}
		say("vm: task %s ended with %d", t.Name, status)
	}
	return orderly(filepath.Join(dir, "then-reboot"))
}

// orderly reboots the way a person does, with what runs still running, if a
// task has asked for it with a file.
func orderly(wish string) error {
	if os.Remove(wish) != nil {
		return nil
	}
	unix.Sync()
	if out, err := exec.Command("systemctl", "reboot").CombinedOutput(); err != nil {
		return fmt.Errorf("systemctl reboot: %w: %s", err, out)
	}
	const patience = 10 * time.Minute
	time.Sleep(patience) // systemd ends this process
	return errors.New("the machine does not reboot")
}

// run runs the program and takes in orphans meanwhile. disk is where the first
// disk is.
func (t task) run(disk string) (unix.WaitStatus, error) {
	c := exec.Command(filepath.Join(disk, t.Argv[0]), t.Argv[1:]...)
	c.Env = []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=" + filepath.Join(disk, "tmp"), "RKT_BIN=" + filepath.Join(disk, "bin/rkt"),
		"RKT_TEST_MUSTRUN=all",
	}
	for _, kv := range t.Env {
		name, value, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(value, "/") {
			value = filepath.Join(disk, value)
		}
		c.Env = append(c.Env, name+"="+value)
	}
	c.Dir = filepath.Join(disk, t.Dir)
	c.Stdout, c.Stderr = os.Stdout, os.Stdout
	if err := c.Start(); err != nil {
		return 0, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case pid == c.Process.Pid:
			return status, nil
		}
	}
}

func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// parameter reads one of the kernel's command line.
func parameter(name string) string {
	f, err := os.Open(filepath.Join("/proc", "cmdline"))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	s := bufio.NewScanner(f)
	s.Split(bufio.ScanWords)
	for s.Scan() {
		if v, ok := strings.CutPrefix(s.Text(), name+"="); ok {
			return v
		}
	}
	return ""
}
