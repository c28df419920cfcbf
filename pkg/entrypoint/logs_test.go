// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLogsRoundTrip(t *testing.T) {
	full := Logs{
		Path: "/s1/logs", Journal: "overlay/id/upper/var/log/journal/x", Root: "/tree", App: "web", Follow: true,
		Since: time.UnixMicro(1764237600123456), Lines: 7, Output: "json",
	}
	plain := Logs{Path: "/s1/logs", Journal: "stage1/rootfs/var/log/journal/x", Lines: AllLines, Output: DefaultLogOutput}
	none := plain
	none.Lines = 0
	for name, l := range map[string]Logs{"full": full, "plain": plain, "no lines": none} {
		got, err := ParseLogs(l.Argv())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(l, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	want := []string{
		"/s1/logs", "--journal=overlay/id/upper/var/log/journal/x", "--root=/tree", "--app=web", "--follow",
		"--since=@1764237600.123456", "--lines=7", "--output=json",
	}
	if diff := cmp.Diff(want, full.Argv()); diff != "" {
		t.Error(diff)
	}
	if got := FormatLogTime(time.Unix(-5, 0)); got != "@0.000000" {
		t.Error(got)
	}
}

func TestParseLogsRefuses(t *testing.T) {
	for _, args := range []string{
		"", "--journal=", "--journal=/abs", "--journal=a/../../b", "--journal=j x", "--journal=j --root=rel", "--journal=j --app=a/b",
		"--journal=j --app=-x", "--journal=j --lines=-2", "--journal=j --lines=x", "--journal=j --output=xml", "--journal=j --output=",
		"--journal=j --since=yesterday", "--journal=j --since=@1", "--journal=j --since=@1.5", "--journal=j --since=@-1.000000",
		"--journal=j --since=@1.00000x", "--journal=j --since=1.000000",
	} {
		if l, err := ParseLogs(append([]string{"/logs"}, strings.Fields(args)...)); err == nil {
			t.Errorf("%q: %+v", args, l)
		}
	}
	if _, err := ParseLogs(nil); err == nil {
		t.Error("no program name")
	}
}

// FuzzParseLogs: what parses, prints back to what parses the same, and says
// nothing that journalctl could take for another option.
func FuzzParseLogs(f *testing.F) {
	f.Add("/l\x00--journal=j\x00--root=/r\x00--app=web\x00--follow\x00--since=@1764237600.123456\x00--lines=7\x00--output=json")
	f.Add("/l\x00--journal=a/./b\x00--lines\x000")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLogs(strings.Split(s, "\x00"))
		if err != nil {
			return
		}
		got, err := ParseLogs(l.Argv())
		if err != nil || !cmp.Equal(l, got) {
			t.Errorf("%+v became %+v, %v", l, got, err)
		}
		if strings.HasPrefix(l.App, "-") || !slices.Contains(LogOutputs(), l.Output) || l.Lines < AllLines {
			t.Errorf("%+v", l)
		}
	})
}
