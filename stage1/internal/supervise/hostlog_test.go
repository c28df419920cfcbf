// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/journal"
)

// TestHostLog: lines go to the journal of the host; while it takes none they are
// printed, and it is not asked for each.
func TestHostLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	now := time.Unix(1, 0)
	host := &hostLog{sender: journal.NewSender(path, time.Second), uuid: []byte("u-1"), now: func() time.Time { return now }}
	defer host.close()
	var out bytes.Buffer
	l := &log{out: &out, host: host}

	l.line("web", "stdout", 7, []byte("lost?"))
	if !strings.HasSuffix(out.String(), "] web[7]: lost?\n") {
		t.Errorf("nobody listens, and %q is printed", &out)
	}
	out.Reset()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	l.line("web", "stdout", 7, []byte("too early"))
	if !strings.Contains(out.String(), "too early") {
		t.Errorf("asked at once again: %q", &out)
	}
	out.Reset()
	now = now.Add(hostPause)
	l.line("web", "stderr", 7, []byte("two\nlines"))
	if out.Len() > 0 {
		t.Errorf("printed, too: %q", &out)
	}
	b := make([]byte, 4096)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := c.Read(b)
	want := "MESSAGE\n\x09\x00\x00\x00\x00\x00\x00\x00two\nlines\nPRIORITY=6\nSYSLOG_IDENTIFIER=web\nRKT_POD_UUID=u-1\nRKT_APP=web\nRKT_STREAM=stderr\n"
	if err != nil || string(b[:n]) != want {
		t.Errorf("%q, %v", b[:n], err)
	}
}

func TestWatchdogPeriod(t *testing.T) {
	for _, tt := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0},
		{"3000000", "", 3 * time.Second},
		{"3000000", "42", 3 * time.Second},
		{"3000000", "43", 0},
		{"0", "42", 0},
		{"-1", "42", 0},
		{"x", "42", 0},
		{"18446744073709551615", "42", 0},
		{"9223372036854775807", "42", 0},
	} {
		env := map[string]string{watchdogUsec: tt.usec, watchdogPID: tt.pid}
		if got := watchdogPeriod(func(name string) string { return env[name] }, 42); got != tt.want {
			t.Errorf("%q, %q: %s, want %s", tt.usec, tt.pid, got, tt.want)
		}
	}
}
