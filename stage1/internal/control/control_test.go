// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/profile"
)

const id = "01234567-89ab-4cde-8f01-23456789abcd"

// inPod makes an empty pod directory the working directory.
func inPod(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// supervisor starts a process and notes it as the pod's supervisor.
func supervisor(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	start, err := profile.StartTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	write(t, poddir.Supervisor, `{"pid":`+strconv.Itoa(cmd.Process.Pid)+`,"startTime":`+strconv.FormatUint(start, 10)+"}\n")
	return cmd
}

func diedOf(t *testing.T, cmd *exec.Cmd) syscall.Signal {
	t.Helper()
	_ = cmd.Wait()
	return cmd.ProcessState.Sys().(syscall.WaitStatus).Signal()
}

func TestStop(t *testing.T) {
	inPod(t)
	cmd := supervisor(t)
	if err := Stop([]string{"stop", id}); err != nil {
		t.Fatal(err)
	}
	if got := diedOf(t, cmd); got != syscall.SIGTERM {
		t.Errorf("the supervisor got signal %v", got)
	}
	if err := Stop([]string{"stop", id}); err == nil {
		t.Error("stopped a second time")
	}
	cmd = supervisor(t)
	if err := Stop([]string{"stop", "--force", id}); err != nil {
		t.Fatal(err)
	}
	if got := diedOf(t, cmd); got != syscall.SIGKILL {
		t.Errorf("by force the supervisor got signal %v", got)
	}
}

// TestStopWrong: nobody but the pod's supervisor gets a signal.
func TestStopWrong(t *testing.T) {
	inPod(t)
	if err := Stop([]string{"stop", id}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	own, err := profile.StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"": "damaged", "{": "damaged", "{}": "damaged", `{"pid":1,"startTime":1}`: "damaged", `{"pid":-5,"startTime":1}`: "damaged", `{"pid":0,"startTime":0}`: "damaged",
		`{"pid":` + strconv.Itoa(os.Getpid()) + `,"startTime":` + strconv.FormatUint(own+1, 10) + `}`: "has ended",
		`{"pid":1073741824,"startTime":1}`: "1073741824",
	} {
		write(t, poddir.Supervisor, text)
		if err := Stop([]string{"stop", id}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if err := Stop([]string{"stop"}); err == nil {
		t.Error("without a pod")
	}
}

// TestStopForceWaits: until nobody holds the lock of the pod.
func TestStopForceWaits(t *testing.T) {
	inPod(t)
	held, err := os.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	supervisor(t)
	done := make(chan error, 1)
	go func() { done <- Stop([]string{"stop", "--force", id}) }()
	select {
	case err := <-done:
		t.Errorf("returns while somebody holds the lock: %v", err)
		return
	case <-time.After(50 * time.Millisecond):
	}
	_ = held.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestGC(t *testing.T) {
	inPod(t)
	for range 2 {
		if err := GC([]string{"gc", id}); err != nil {
			t.Error(err)
		}
	}
	// directories that are gone, and such that are no pod's
	write(t, poddir.Cgroups, "/sys/fs/cgroup/nowhere/machine-rkt\\x2d01234567\\x2d89ab\\x2d4cde\\x2d8f01\\x2d23456789abcd.scope\n")
	for range 2 {
		if err := GC([]string{"gc", "--debug", "--local-config", "/etc/rkt", id}); err != nil {
			t.Error(err)
		}
	}
	write(t, poddir.Cgroups, "/sys/fs/cgroup\n")
	if err := GC([]string{"gc", id}); err == nil {
		t.Error("the root of the host's cgroups is the pod's")
	}
	if err := GC([]string{"gc"}); err == nil {
		t.Error("without a pod")
	}
}
