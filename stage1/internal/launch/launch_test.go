// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// TestCalledByHand: the programs do nothing without an app's name and profile.
func TestCalledByHand(t *testing.T) {
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) })
	for name, program := range map[string]func([]string) error{"launch": Launch, "post-stop": PostStop, HandlerName: Handler} {
		for _, argv := range [][]string{{name}, {name, "../../etc/passwd"}, {name, "A"}, {name, ""}, {name, "no-such-app-here"}, {name, "a", "b", "c"}} {
			if name == HandlerName && len(argv) > 2 {
				continue
			}
			if err := program(argv); err == nil {
				t.Errorf("%q succeeds", argv)
			}
		}
	}
}

func TestEnviron(t *testing.T) {
	for _, name := range passed {
		t.Setenv(name, "of systemd")
	}
	t.Setenv("LD_PRELOAD", "x")
	t.Setenv("SYSTEMD_EXEC_PID", "7")
	own := []string{"A=1", "WATCHDOG_PID=of the app", "NOTIFY_SOCKETS=x"}
	s := start{prof: &profile.Profile{Environment: slices.Clip(own)}}
	got := s.environ()
	if !slices.Equal(got[:len(own)], own) {
		t.Errorf("%q", got)
	}
	for _, name := range passed {
		want := name + "=of systemd"
		if name == "WATCHDOG_PID" {
			want = "WATCHDOG_PID=of the app"
		}
		if !slices.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if len(got) != len(own)+len(passed)-1 {
		t.Errorf("%q", got)
	}
	if !slices.Equal(s.prof.Environment, own) {
		t.Errorf("the profile is changed: %q", s.prof.Environment)
	}
}

func TestActivated(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	for _, tt := range []struct {
		pid, count string
		want       []int
	}{
		{pid, "3", []int{3, 4, 5}},
		{pid, "0", nil},
		{pid, "-1", nil},
		{pid, "x", nil},
		{pid, "", nil},
		{pid, "1025", nil},
		{pid, "9999999999999999999", nil},
		{"1", "2", nil},
		{"", "2", nil},
	} {
		t.Setenv("LISTEN_PID", tt.pid)
		t.Setenv("LISTEN_FDS", tt.count)
		if got := activated(); !slices.Equal(got, tt.want) {
			t.Errorf("LISTEN_PID=%s LISTEN_FDS=%s: %v, want %v", tt.pid, tt.count, got, tt.want)
		}
	}
}

// TestStatus: what keeps an app from starting decides its exit status.
func TestStatus(t *testing.T) {
	for want, err := range map[ExitError]error{
		203: fmt.Errorf("%w %q: %w", confine.ErrExecute, "/x", os.ErrNotExist),
		226: &mountError{os.ErrNotExist},
		254: os.ErrPermission,
	} {
		// nobody listens where the supervisor would
		s := start{prof: &profile.Profile{App: "no-such-app-here"}}
		var got ExitError
		if err := s.fail(err); !errors.As(err, &got) || got != want || !strings.Contains(got.Error(), strconv.Itoa(int(want))) {
			t.Errorf("%v: %v, want %d", err, got, want)
		}
	}
	if !errors.Is(&mountError{os.ErrNotExist}, os.ErrNotExist) {
		t.Error("the cause is lost")
	}
	for mode, want := range map[string]bool{"tty": true, "interactive": true, "log": false, "null": false, "stream": false, "": false} {
		if isTTY(mode) != want {
			t.Errorf("%q", mode)
		}
	}
}
