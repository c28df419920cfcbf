// SPDX-License-Identifier: Apache-2.0

package netns_test

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

func TestPin(t *testing.T) {
	testenv.NeedsRoot(t)
	path := netns.Path(rand.Text())
	if err := netns.Pin(path); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = netns.Unpin(path) }()
	if !netns.IsPinned(path) {
		t.Error("not pinned")
	}
	if err := netns.Pin(path); err == nil {
		t.Error("pinned twice")
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	err = netns.In(path, func() error {
		if inside, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || inside == own {
			t.Errorf("in %s: %v", inside, err)
		}
		interfaces, err := net.Interfaces()
		for _, i := range interfaces {
			if i.Name == "lo" && i.Flags&net.FlagUp == 0 {
				t.Error("lo is down")
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if after, _ := os.Readlink("/proc/self/ns/net"); after != own {
		t.Error("the process itself has moved")
	}
	for range 2 {
		if err := netns.Unpin(path); err != nil {
			t.Error(err)
		}
	}
	if netns.IsPinned(path) {
		t.Error("still pinned")
	}
	if err := netns.In(path, func() error { return nil }); err == nil {
		t.Error("entered what is gone")
	}
}

// TestUnpinElsewhere: a process in a mount namespace of its own that has seen
// the pin does not keep it.
func TestUnpinElsewhere(t *testing.T) {
	testenv.NeedsRoot(t)
	path := netns.Path(rand.Text())
	if err := netns.Pin(path); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	seen := func() bool {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(data), filepath.Base(path))
	}
	if !seen() {
		t.Fatal("the other namespace has no copy of the pin")
	}
	if err := netns.Unpin(path); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil || seen() {
		t.Error("the pin is still there")
	}
}
