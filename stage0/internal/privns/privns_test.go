// SPDX-License-Identifier: Apache-2.0

package privns_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
)

// The main thread is what /proc/self is about: it must stay where the process is.
func TestMainThreadStays(t *testing.T) {
	testenv.NeedsRoot(t)
	before, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	for range 200 { // the scheduler chooses the thread
		err := privns.Do(func() error {
			if unix.Gettid() == unix.Getpid() {
				return errors.New("on the main thread")
			}
			inside, err := os.Readlink("/proc/thread-self/ns/mnt")
			if err == nil && inside == before {
				return errors.New("in the mount namespace of the process")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if after, err := os.Readlink("/proc/self/ns/mnt"); err != nil || after != before {
			t.Fatalf("the process is in %s, was in %s: %v", after, before, err)
		}
	}
}

func TestThreadKeepsItsMounts(t *testing.T) {
	testenv.NeedsRoot(t)
	dir := t.TempDir()
	th, err := privns.NewThread()
	if err != nil {
		t.Fatal(err)
	}
	defer th.Close()
	file := dir + "/file"
	if err := th.Do(func() error {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			return err
		}
		return os.WriteFile(file, nil, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the mount is seen outside")
	}
	if err := th.Do(func() error { _, err := os.Stat(file); return err }); err != nil {
		t.Errorf("the mount is gone: %v", err)
	}
}

// TestIn: what is mounted in the namespace of another process is seen there and
// nowhere else, and the thread cannot leave the root it got.
func TestIn(t *testing.T) {
	testenv.NeedsRoot(t)
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/target", 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	proc := fmt.Sprintf("/proc/%d", cmd.Process.Pid)
	ns, err := os.Open(proc + "/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	root, err := os.Open(proc + "/root" + dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	err = privns.In(ns, root, func() error {
		if err := unix.Mount("tmpfs", "/../target", "tmpfs", 0, ""); err != nil {
			return err
		}
		return os.WriteFile("/target/file", nil, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(proc + "/root" + dir + "/target/file"); err != nil {
		t.Errorf("in the namespace: %v", err)
	}
	if _, err := os.Stat(dir + "/target/file"); err == nil {
		t.Error("the mount is seen outside")
	}
	if err := privns.In(root, root, func() error { return nil }); err == nil {
		t.Error("joined what is no namespace")
	}
}
