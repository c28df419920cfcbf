// SPDX-License-Identifier: Apache-2.0

package rootfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
)

// TestAttach moves an overlay into the mount namespace of another process, as
// is that of a pod, with and without a user namespace of its own.
func TestAttach(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
	mapping := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1 << 20, Size: 1 << 16}}
	for name, attr := range map[string]*syscall.SysProcAttr{
		"mount namespace": {Cloneflags: unix.CLONE_NEWNS},
		"user namespace":  {Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUSER, UidMappings: mapping, GidMappings: mapping},
	} {
		t.Run(name, func(t *testing.T) { testAttach(t, attr) })
	}
}

func testAttach(t *testing.T, attr *syscall.SysProcAttr) {
	dir := t.TempDir()
	put(t, dir+"/lower/file", "content")
	for _, d := range []string{"pod/opt/stage2/app/rootfs", "mount"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ns, root := otherNamespace(t, attr, dir+"/pod")
	s1, err := OpenStage1(fmt.Sprintf("/proc/self/fd/%d", root.Fd()), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s1.Close() }()
	for i := range 2 {
		upper := filepath.Join(dir, fmt.Sprintf("pod%d", i))
		if err := os.Mkdir(upper, 0o755); err != nil {
			t.Fatal(err)
		}
		o := Overlay{PodDir: upper, TreeID: "deps-x", App: "app", Lowers: []string{dir + "/lower"}, Target: dir + "/mount", GID: -1}
		if err := privns.Do(func() error { return attachApp(o, s1, ns, root) }); err != nil {
			t.Fatal(err)
		}
		if data, err := s1.ReadFile("opt/stage2/app/rootfs/file"); err != nil || string(data) != "content" {
			t.Errorf("in the other namespace: %q, %v", data, err)
		}
	}
	if left, _ := os.ReadDir(dir + "/pod/opt/stage2/app/rootfs"); len(left) != 0 {
		t.Errorf("seen here: %v", left)
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), dir) {
		t.Error("mounted here")
	}
	unmount := func() error { return Clear("/opt/stage2/app/rootfs") }
	for range 2 { // both mounts, and then none
		if err := privns.In(ns, root, unmount); err != nil {
			t.Error(err)
		}
		if _, err := s1.ReadFile("opt/stage2/app/rootfs/file"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after Clear: %v", err)
		}
	}
	if err := privns.In(ns, root, func() error { return Clear("/none") }); err != nil {
		t.Error(err)
	}
	if err := s1.Remove("opt/stage2/app"); err != nil {
		t.Error(err)
	}
}

func attachApp(o Overlay, s1 *Stage1, ns, root *os.File) error {
	mount, err := o.Detach()
	if err != nil {
		return err
	}
	target, err := s1.OpenApp("app")
	if err != nil {
		return err
	}
	err = privns.In(ns, root, func() error { return Attach(mount, target) })
	return errors.Join(err, mount.Close(), target.Close())
}

// otherNamespace starts a process and opens its mount namespace, and a
// directory there.
func otherNamespace(t *testing.T, attr *syscall.SysProcAttr, path string) (ns, root *os.File) {
	t.Helper()
	cmd := exec.Command("cat")
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	// It answers when it is where it shall be.
	if _, err := io.WriteString(in, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	proc := fmt.Sprintf("/proc/%d", cmd.Process.Pid)
	if ns, err = os.Open(proc + "/ns/mnt"); err != nil {
		t.Fatal(err)
	}
	if root, err = os.Open(proc + "/root" + path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(ns.Close(), root.Close()) })
	return ns, root
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	for range 2 {
		if err := s.Mark("rkt/status/app-started"); err != nil {
			t.Error(err)
		}
		if has, err := s.Has("rkt/status/app-started"); !has || err != nil {
			t.Error(has, err)
		}
	}
	if err := s.WriteEnv("app", []byte("A=b\n")); err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(dir + "/rkt/env/app"); err != nil || fi.Mode() != 0o644 || fi.Size() != 4 {
		t.Errorf("%v, %v", fi, err)
	}
	for _, name := range []string{"rkt/env/app", "rkt/env/app", "rkt/status", "none/at/all"} {
		if err := s.Remove(name); err != nil {
			t.Error(err)
		}
		if has, err := s.Has(name); has || err != nil {
			t.Error(has, err)
		}
	}
}
