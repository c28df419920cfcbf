// SPDX-License-Identifier: Apache-2.0

package units

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/isolator"
)

const plainUnit = `[Unit]
Description=Application=web Image=example.com/web
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
Wants=systemd-journald.socket systemd-journald-dev-log.socket
After=systemd-journald.socket systemd-journald-dev-log.socket

[Service]
ExecStart=/launch web
Restart=no
TimeoutStartSec=0
IgnoreSIGPIPE=no
OOMPolicy=continue
SyslogIdentifier=web
StandardInput=null
StandardOutput=null
StandardError=null
`

func TestUnit(t *testing.T) {
	if diff := cmp.Diff(plainUnit, App{Name: "web", Image: "example.com/web"}.Unit()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	full := App{
		Name: "web", Image: "example.com/web", Notify: true, PostStop: true, After: []string{"other.service"},
		Limits: &isolator.Plan{
			Memory: &isolator.Resource{Limit: 44040192, Request: 4096}, CPU: &isolator.Resource{Limit: 905}, CPUShares: &isolator.Int{Value: 1024},
			Pids: &isolator.Resource{Limit: 20}, IOWeight: &isolator.Int{Value: 500},
		},
	}.Unit()
	for _, want := range []string{
		"\nAfter=other.service\nWants=other.service\n", "\nType=notify\nNotifyAccess=all\n", "\nExecStopPost=/post-stop web\n",
		"\nMemoryAccounting=yes\nMemoryLow=4096\nMemoryMax=44040192\nMemorySwapMax=0\n", "\nCPUAccounting=yes\nCPUQuota=90.5%\n", "\nCPUWeight=39\n",
		"\nTasksAccounting=yes\nTasksMax=20\n", "\nIOAccounting=yes\nIOWeight=500\n",
	} {
		if !strings.Contains(full, want) {
			t.Errorf("no %q in\n%s", want, full)
		}
	}
	requests := App{Name: "a", Limits: &isolator.Plan{Memory: &isolator.Resource{Request: 5}, CPU: &isolator.Resource{Request: 5}, Pids: &isolator.Resource{}}}.Unit()
	if !strings.Contains(requests, "\nCPUWeight=1\n") {
		t.Errorf("a request is no weight:\n%s", requests)
	}
	for _, never := range []string{"MemoryMax", "CPUQuota", "TasksMax", "MemorySwapMax"} {
		if strings.Contains(requests, never) {
			t.Errorf("%s without a limit:\n%s", never, requests)
		}
	}
}

func TestDefaultTarget(t *testing.T) {
	const want = `[Unit]
Description=Pod
DefaultDependencies=no
AllowIsolate=yes
Conflicts=shutdown.target
Wants=sockets.target
Wants=a.service
Wants=b-c.service
`
	if diff := cmp.Diff(want, DefaultTarget([]string{"a", "b-c"})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCheckName: no app's unit has the name of a unit of the image.
func TestCheckName(t *testing.T) {
	entries, err := os.ReadDir("../../../dist/stage1/rootfs/" + Dir)
	if err != nil {
		t.Fatal(err)
	}
	services := 0
	for _, e := range entries {
		if app, ok := strings.CutSuffix(e.Name(), ".service"); ok {
			services++
			if err := CheckName(app); !errors.Is(err, ErrReserved) {
				t.Errorf("%s: %v", app, err)
			}
		}
	}
	if services == 0 {
		t.Error("no units found")
	}
	if err := CheckName("dbus"); !errors.Is(err, ErrReserved) {
		t.Error(err)
	}
	for _, good := range []string{"a", "systemd", "web-1", strings.Repeat("x", maxName)} {
		if err := CheckName(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	if err := CheckName(strings.Repeat("x", maxName+1)); err == nil {
		t.Error("a name too long for a file")
	}
}

// directive is what systemd reads of one line.
type directive struct{ section, key, value string }

// read parses a unit file as systemd does (systemd.syntax(7)): a backslash at
// the end of a line joins it to the next, blanks around names and values do not
// count, "%%" is "%".
func read(text string) (all []directive) {
	section, joined := "", ""
	for _, line := range strings.FieldsFunc(text, func(c rune) bool { return c == '\n' || c == '\r' || c == 0 }) {
		line = strings.TrimLeft(line, " \t")
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		line = joined + line
		joined = ""
		if rest, ok := strings.CutSuffix(line, `\`); ok && !strings.HasSuffix(rest, `\`) {
			joined = rest + " "
			continue
		}
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || !utf8.ValidString(value) {
			continue
		}
		all = append(all, directive{section, strings.TrimSpace(key), strings.ReplaceAll(strings.TrimSpace(value), "%%", "\x01")})
	}
	return all
}

// FuzzText: no text in a unit changes what else systemd reads from it, and none
// of its characters means something.
func FuzzText(f *testing.F) {
	for _, s := range []string{"example.com/web", "a\n[Service]\nExecStart=/bin/sh", `end\`, `\\`, "%n%%i%", "$A ${B}", `"'`, "\r\x00\x1b", "\xff", "  ", "# x", "\u2028\u0085"} {
		f.Add(s)
	}
	want := read(plainUnit)
	f.Fuzz(func(t *testing.T, s string) {
		got := read(App{Name: "web", Image: s}.Unit())
		if len(got) != len(want) {
			t.Fatalf("%q: %d directives, want %d", s, len(got), len(want))
		}
		for i := range got {
			if got[i].key == "Description" {
				if v := got[i].value; strings.ContainsAny(v, "%\\") || !strings.HasPrefix(v, "Application=web Image=") {
					t.Errorf("%q: %q", s, v)
				}
				continue
			}
			if got[i] != want[i] {
				t.Errorf("%q: %v, want %v", s, got[i], want[i])
			}
		}
	})
}
