// SPDX-License-Identifier: Apache-2.0

package idmap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

const (
	shift = 1 << 20
	count = 1 << 16
)

const helperEnv = "RKT_IDMAP_TEST_HELPER"

// TestMain lets the test binary play the process that mounts.
func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		if err := mountHelper(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestNewUserNS(t *testing.T) {
	testenv.NeedsRoot(t)
	nsenter := testenv.NeedsProgram(t, "nsenter")
	ns, err := NewUserNS(shift, count)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	cmd := exec.Command(nsenter, "--user=/proc/self/fd/3", "cat", "/proc/self/uid_map", "/proc/self/gid_map")
	cmd.ExtraFiles = []*os.File{ns}
	out, err := cmd.CombinedOutput()
	if want := fmt.Sprintf("0 %d %d", shift, count); err != nil || strings.Count(strings.Join(strings.Fields(string(out)), " "), want) != 2 {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := unix.Wait4(-1, nil, unix.WALL|unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("a process is left: %v", err)
	}
	var mask unix.Sigset_t
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f, err := NewUserNS(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &mask); err != nil || mask != (unix.Sigset_t{}) {
		t.Errorf("signals are blocked: %v, %v", mask, err)
	}
}

func TestRangeErrors(t *testing.T) {
	for _, r := range [][2]uint32{{1, 0}, {1<<32 - 1, 1}, {1 << 31, 1 << 31}} {
		if f, err := NewUserNS(r[0], r[1]); err == nil {
			_ = f.Close()
			t.Errorf("%v is no range", r)
		}
	}
}

func status(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		for _, p := range []string{"Uid:", "Gid:", "Cap", "SigBlk"} {
			if strings.HasPrefix(line, p) {
				lines = append(lines, line)
			}
		}
	}
	dumpable, err1 := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	signal, err2 := parentDeathSignal()
	return fmt.Sprint(lines, dumpable, signal, err1, err2)
}

func TestWithRoot(t *testing.T) {
	testenv.NeedsRoot(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGUSR1), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) }()
	dir := filepath.Join(t.TempDir(), "private")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	before := status(t)
	own := errors.New("own")
	err := WithRoot(shift, func() error {
		err := errors.Join(
			os.WriteFile(dir+"/file", []byte("x"), 0o600),
			unix.Mknod(dir+"/node", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))),
			os.Mkdir(dir+"/dir", 0o700),
			os.Symlink("x", dir+"/link"),
			os.Lchown(dir+"/link", 7, 8),
			os.Chmod(dir, 0o500),
		)
		if err != nil {
			return err
		}
		return own
	})
	if !errors.Is(err, own) {
		t.Fatal(err)
	}
	if after := status(t); after != before {
		t.Errorf("thread was\n%s and is\n%s", before, after)
	}
	for name, want := range map[string]string{
		"file": fmt.Sprintf("%d:%[1]d", shift), "node": fmt.Sprintf("%d:%[1]d", shift), "dir": fmt.Sprintf("%d:%[1]d", shift), "link": "7:8",
	} {
		if got := owner(dir + "/" + name); got != want {
			t.Errorf("%s belongs to %s, want %s", name, got, want)
		}
	}
	if err := WithRoot(0, func() error { return own }); !errors.Is(err, own) {
		t.Errorf("without shift: %v", err)
	}
}

func owner(path string) string {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

func TestSupported(t *testing.T) {
	testenv.NeedsRoot(t)
	var no *UnsupportedError
	if err := Supported("/proc"); !errors.As(err, &no) {
		t.Errorf("/proc: %v", err)
	}
	if err := Supported(filepath.Join(t.TempDir(), "none")); err == nil || errors.As(err, &no) {
		t.Errorf("no directory: %v", err)
	}
}

func needsIdmap(t *testing.T, dir string) {
	t.Helper()
	testenv.NeedsRoot(t)
	if err := Supported(dir); err != nil {
		t.Skip(err)
	}
}

// A volume of the host, mounted for a pod: seen with the pod's owners, written
// with the host's.
func TestMount(t *testing.T) {
	dir := t.TempDir()
	needsIdmap(t, dir)
	for _, d := range []string{"volume", "target"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, id := range map[string]int{"root": 0, "user": 1000, "foreign": count} {
		path := filepath.Join(dir, "volume", name)
		if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Chown(path, id, id)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, want := range map[string]string{"new": "0:0", "given": "5:6", "foreign": "65536:65536"} {
		if got := owner(filepath.Join(dir, "volume", name)); got != want {
			t.Errorf("on disk %s belongs to %s, want %s", name, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "volume", "host")); err == nil {
		t.Error("the host's root has made a file in the idmapped mount")
	}
}

func mountHelper(dir string) error {
	target := filepath.Join(dir, "target")
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	tree, err := Clone(filepath.Join(dir, "volume"), unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	if err := Mount(tree, shift, count); err != nil {
		return err
	}
	if err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	for name, want := range map[string]string{
		"root": fmt.Sprintf("%d:%[1]d", shift), "user": fmt.Sprintf("%d:%[1]d", shift+1000), "foreign": "65534:65534",
	} {
		if got := owner(filepath.Join(target, name)); got != want {
			return fmt.Errorf("mounted %s belongs to %s, want %s", name, got, want)
		}
	}
	if err := os.WriteFile(target+"/host", nil, 0o644); !errors.Is(err, unix.EOVERFLOW) {
		return fmt.Errorf("a file of the host's root: %w", err)
	}
	return WithRoot(shift, func() error {
		if err := os.Chmod(target+"/foreign", 0o777); !errors.Is(err, unix.EOVERFLOW) {
			return fmt.Errorf("chmod of a file of nobody: %w", err)
		}
		return errors.Join(
			os.WriteFile(target+"/new", nil, 0o644),
			os.WriteFile(target+"/given", nil, 0o644),
			os.Chown(target+"/given", shift+5, shift+6),
		)
	})
}
