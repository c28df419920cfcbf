// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

// The test binary plays the programs that this package starts.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case "report":
		os.Exit(report())
	case "guarded":
		os.Exit(guarded())
	case "starter":
		os.Exit(starter())
	}
	os.Exit(m.Run())
}

// report writes what it is into the descriptor that it was given.
func report() int {
	files, err := Kept(os.Args)
	if err != nil || len(files) != 1 {
		return 1
	}
	f := files[0]
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 2
	}
	host, err := os.Hostname()
	if err != nil {
		return 3
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 4
	}
	_, err = f.WriteString("Host:\t" + host + "\nExe:\t" + exe + "\n" + string(status))
	if err != nil || f.Close() != nil {
		return 5
	}
	return 7
}

// starter starts report in the namespaces of the process in its argument.
func starter() int {
	runtime.LockOSThread()
	pid, _ := strconv.Atoi(os.Args[1])
	start, err := profile.StartTime(pid)
	if err != nil {
		return 1
	}
	namespaces, err := Open(pid, start)
	if err != nil {
		return 2
	}
	self, err := SealedCopy()
	if err != nil {
		return 3
	}
	if _, err := self.WriteAt([]byte("x"), 0); !errors.Is(err, unix.EPERM) {
		return 4
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 5
	}
	child, err := Start(Child{Program: self, Namespaces: namespaces, Keep: []*os.File{w}, Caps: caps.Default | 1<<21, Name: "report"})
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error())
		return 6
	}
	_ = w.Close()
	if _, err := io.Copy(os.Stdout, r); err != nil {
		return 8
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(child, &ws, 0, nil); err != nil || ws.ExitStatus() != 7 {
		return 9
	}
	return 0
}

func TestStart(t *testing.T) {
	testenv.NeedsRoot(t)
	for name, args := range map[string][]string{
		"namespaces":            {"--uts", "--pid", "--fork", "--mount", "--mount-proc", "--ipc"},
		"with a user namespace": {"--uts", "--pid", "--fork", "--mount", "--mount-proc", "--ipc", "--user", "--map-root-user"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := exec.Command("unshare", append(append([]string{}, args...), "--kill-child", "sh", "-c", "hostname pod-name; echo up; exec sleep 60")...)
			out, err := pod.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := pod.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = pod.Process.Kill(); _ = pod.Wait() }()
			if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile("/proc/" + strconv.Itoa(pod.Process.Pid) + "/task/" + strconv.Itoa(pod.Process.Pid) + "/children")
			if err != nil {
				t.Fatal(err)
			}
			starter := exec.Command("/proc/self/exe", strings.TrimSpace(string(data)))
			starter.Args[0] = "starter"
			var stderr strings.Builder
			starter.Stderr = &stderr
			got, err := starter.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, stderr.String())
			}
			for _, want := range []string{
				"Host:\tpod-name\n", "Exe:\t/memfd:rkt (deleted)\n", "\nUid:\t0\t0\t0\t0\n", "\nCapInh:\t0000000000000000\n",
				// In a user namespace they mean nothing outside it.
				map[bool]string{true: "\nCapBnd:\t", false: "\nCapBnd:\t00000000a82425fb\n"}[strings.Contains(name, "user")],
			} {
				if !strings.Contains("\n"+string(got), want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
		})
	}
}

// guarded makes a guard for the process in its argument and waits.
func guarded() int {
	runtime.LockOSThread()
	leader, _ := strconv.Atoi(os.Args[1])
	dir, err := os.Open(os.Args[2])
	if err != nil {
		return 1
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return 2
	}
	g, err := StartGuard(int(dir.Fd()))
	if err != nil {
		return 3
	}
	if leader > 0 {
		if err := g.Protect(leader); err != nil {
			return 4
		}
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(g.pid) + "\n")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil { // end of file: in order
		g.End()
		return 0
	}
	return 5
}

func TestGuard(t *testing.T) {
	for name, tc := range map[string]struct {
		leader, kill bool
		wantAlive    bool
	}{
		"supervisor killed":                 {true, true, false},
		"supervisor killed before a leader": {false, true, true},
		"ended in order":                    {true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			leader := exec.Command("sleep", "60")
			if err := leader.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { _ = leader.Wait(); close(done) }()
			defer func() { _ = leader.Process.Kill(); <-done }()
			pid := "0"
			if tc.leader {
				pid = strconv.Itoa(leader.Process.Pid)
			}
			dir := t.TempDir()
			sup := exec.Command("/proc/self/exe", pid, dir)
			sup.Args[0] = "guarded"
			in, err1 := sup.StdinPipe()
			out, err2 := sup.StdoutPipe()
			if err := errors.Join(err1, err2, sup.Start()); err != nil {
				t.Fatal(err)
			}
			line := make([]byte, 16)
			n, err := out.Read(line)
			if err != nil {
				t.Fatal(err)
			}
			guard, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
			if err != nil {
				t.Fatal(err)
			}
			if tc.kill {
				_ = sup.Process.Kill()
			} else {
				_ = in.Close()
			}
			_ = sup.Wait()
			select {
			case <-done:
				if tc.wantAlive {
					t.Error("the leader was killed")
				}
			case <-time.After(map[bool]time.Duration{true: 300 * time.Millisecond, false: 10 * time.Second}[tc.wantAlive]):
				if !tc.wantAlive {
					t.Error("the leader lives")
				}
			}
			waitGone(t, guard)
			f, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
				t.Errorf("the lock is still held: %v", err)
			}
		})
	}
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(data), ") Z ") {
			return
		}
	}
	t.Error("the guard lives")
}
