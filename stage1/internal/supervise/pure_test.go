// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

func TestSplitter(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for name, tc := range map[string]struct {
		writes []string
		want   []string
	}{
		"lines":              {[]string{"a\nb\n"}, []string{"a", "b"}},
		"over several reads": {[]string{"a", "b\nc", "\n"}, []string{"ab", "c"}},
		"no end":             {[]string{"a\nb"}, []string{"a", "b"}},
		"empty lines":        {[]string{"\n\n"}, []string{"", ""}},
		"nothing":            {nil, nil},
		"bytes":              {[]string{"\x00\xff\r\n"}, []string{"\x00\xff\r"}},
		"too long":           {[]string{long + "yz\n"}, []string{long, "yz"}},
		"too long in pieces": {[]string{long[:maxLine-1], "xx\n"}, []string{long, "x"}},
	} {
		var got []string
		s := splitter{emit: func(line []byte) { got = append(got, string(line)) }}
		for _, w := range tc.writes {
			s.Write([]byte(w))
		}
		s.end()
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%.500s", name, diff)
		}
	}
}

// FuzzSplitter: nothing is lost or added, however the bytes arrive.
func FuzzSplitter(f *testing.F) {
	f.Add([]byte("a\nb"), 1)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		if step <= 0 {
			step = 1
		}
		var got bytes.Buffer
		s := splitter{emit: func(line []byte) { got.Write(line); got.WriteByte('\n') }}
		for rest := data; len(rest) > 0; {
			n := min(step, len(rest))
			s.Write(rest[:n])
			rest = rest[n:]
		}
		s.end()
		want := data
		if len(data) > 0 && data[len(data)-1] != '\n' {
			want = append(bytes.Clone(data), '\n')
		}
		if len(data) < maxLine && !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%q became %q", data, got.Bytes())
		}
	})
}

func TestWithHost(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "127.0.0.1\tpod\n",
		"# x\n127.0.0.1 localhost\n::1 six\n": "# x\n127.0.0.1 localhost pod\n::1 six\n",
		"127.0.0.1\tlocalhost":                "127.0.0.1\tlocalhost pod\n",
		"127.0.0.10 a\n":                      "127.0.0.10 a\n127.0.0.1\tpod\n",
		"127.0.0.1 a\n127.0.0.1 b\n":          "127.0.0.1 a pod\n127.0.0.1 b\n",
	} {
		if got := string(withHost([]byte(in), "pod")); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestEscapes(t *testing.T) {
	const e = "\x1d"
	now := time.Now()
	type input struct {
		text  string
		after time.Duration
	}
	for name, tc := range map[string]struct {
		in   []input
		want bool
	}{
		"at once":           {[]input{{e + e + e, 0}}, true},
		"one by one":        {[]input{{e, 0}, {e, 300 * time.Millisecond}, {e, 600 * time.Millisecond}}, true},
		"too slow":          {[]input{{e, 0}, {e, 600 * time.Millisecond}, {e, 1200 * time.Millisecond}}, false},
		"something between": {[]input{{e + e + "a" + e, 0}}, false},
		"two":               {[]input{{e + e, 0}}, false},
		"after text":        {[]input{{"abc" + e + e + e, 0}}, true},
	} {
		var s escapes
		got := false
		for _, i := range tc.in {
			got = got || s.seen([]byte(i.text), now.Add(i.after))
		}
		if got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestUnitPath(t *testing.T) {
	for unit, want := range map[string]dbus.ObjectPath{
		"bb.service":   "/org/freedesktop/systemd1/unit/bb_2eservice",
		"a-1.service":  "/org/freedesktop/systemd1/unit/a_2d1_2eservice",
		"1a.service":   "/org/freedesktop/systemd1/unit/_31a_2eservice",
		"_cpu.service": "/org/freedesktop/systemd1/unit/_5fcpu_2eservice",
	} {
		if got := unitPath(unit); got != want || !got.IsValid() {
			t.Errorf("%s: %s", unit, got)
		}
	}
}

func TestRemember(t *testing.T) {
	b := &Bus{last: map[dbus.ObjectPath]UnitState{}}
	path := unitPath("a.service")
	signal := func(props map[string]dbus.Variant) *dbus.Signal {
		return &dbus.Signal{Name: busProps + ".PropertiesChanged", Path: path, Body: []any{busService, props, []string{}}}
	}
	b.remember(signal(map[string]dbus.Variant{"ExecMainPID": dbus.MakeVariant(uint32(7))}))
	b.remember(signal(map[string]dbus.Variant{"ExecMainCode": dbus.MakeVariant(int32(2)), "ExecMainStatus": dbus.MakeVariant(int32(15)), "Result": dbus.MakeVariant("signal")}))
	b.remember(&dbus.Signal{Name: busProps + ".PropertiesChanged", Path: path, Body: []any{1}})
	b.remember(signal(map[string]dbus.Variant{"ExecMainStatus": dbus.MakeVariant("no number")}))
	want := UnitState{PID: 7, Code: 2, Status: 15, Result: "signal"}
	if diff := cmp.Diff(want, b.last[path]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExit(t *testing.T) {
	s := &supervisor{pod: &pod{cgroup: &cgroup.Pod{}}}
	start := time.Now()
	for name, tc := range map[string]struct {
		u    UnitState
		want poddir.AppExit
		n    int
	}{
		"success": {UnitState{Code: cldExited}, poddir.AppExit{}, 0},
		"status":  {UnitState{Code: cldExited, Status: 3}, poddir.AppExit{Code: 3}, 3},
		"signal":  {UnitState{Code: 2, Status: 9}, poddir.AppExit{Signal: 9}, 9},
		"core":    {UnitState{Code: cldDumped, Status: 6}, poddir.AppExit{Signal: 6, CoreDumped: true}, 6},
		"oom":     {UnitState{Code: 2, Status: 9, Result: "oom-kill"}, poddir.AppExit{Signal: 9, OOMKilled: true}, 9},
	} {
		got := s.exitOf(&proc{started: start}, tc.u)
		if got.StartedAt != start || got.FinishedAt.Before(start) {
			t.Errorf("%s: times %v", name, got)
		}
		got.StartedAt, got.FinishedAt = time.Time{}, time.Time{}
		if got != tc.want || number(got) != tc.n {
			t.Errorf("%s: %+v, number %d", name, got, number(got))
		}
	}
}

func TestIsGroupOf(t *testing.T) {
	for group, want := range map[string]bool{
		"/sys/fs/cgroup/x.scope/payload/system.slice/web.service":    true,
		"/sys/fs/cgroup/x.scope/payload/system.slice/_web.service":   true,
		"/sys/fs/cgroup/x.scope/payload/system.slice/web.service/in": false,
		"/sys/fs/cgroup/x.scope/payload/system.slice/a-web.service":  false,
		"": false,
	} {
		if got := isGroupOf(group, "web"); got != want {
			t.Errorf("%q: %v", group, got)
		}
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\nb\x1b[31m\x7f\u0085é"); got != "a b [31m  é" {
		t.Errorf("%q", got)
	}
}

func TestTail(t *testing.T) {
	var w tail
	_, _ = w.Write(bytes.Repeat([]byte("x"), tailSize))
	_, _ = w.Write([]byte("\nAttempted to remove disk file system under \"/run\"\n first \n\nsecond\n"))
	if got := w.text(); !strings.HasSuffix(got, "first; second") || len(w.b) > tailSize || strings.Contains(got, "disk file system") {
		t.Errorf("%q", got[max(len(got)-60, 0):])
	}
}
