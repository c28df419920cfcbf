// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/explain"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/pod"
)

// testDeps writes to buffers and is an unprivileged user.
func testDeps(t *testing.T) (d *Deps, stdout, stderr *bytes.Buffer) {
	t.Helper()
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	d = NewDeps(nil)
	d.Stdout, d.Stderr = stdout, stderr
	d.EUID = func() int { return 1000 }
	d.Now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	return d, stdout, stderr
}

// The check comes before that of arguments, but after help and flags.
func TestUnprivileged(t *testing.T) {
	for _, tc := range []struct {
		args   string
		stderr string
	}{
		{"run", "run: cannot run as unprivileged user\n"},
		{"run img --bogus", "run: cannot run as unprivileged user\n"},
		{"prepare", "prepare: cannot run as unprivileged user\n"},
		{"run-prepared", "run-prepared: cannot run as unprivileged user\n"},
		{"enter", "enter: cannot run as unprivileged user\n"},
		{"gc", "gc: cannot run as unprivileged user\n"},
		{"rm", "rm: cannot run as unprivileged user\n"},
		{"run --bogus", "Error: unknown flag: --bogus\n\n"},
	} {
		d, _, stderr := testDeps(t)
		status := Main(t.Context(), d, strings.Fields(tc.args))
		if status != 254 || stderr.String() != tc.stderr {
			t.Errorf("%s: %d, %q", tc.args, status, stderr)
		}
	}
	d, stdout, stderr := testDeps(t)
	if status := Main(t.Context(), d, []string{"run", "img", "--help"}); status != 0 || stderr.Len() > 0 || stdout.Len() == 0 {
		t.Errorf("help: %d, %q", status, stderr)
	}
}

func TestReport(t *testing.T) {
	base := errors.New("cause")
	for _, tc := range []struct {
		err    error
		status int
		stderr string
	}{
		{nil, 0, ""},
		{fmt.Errorf("outer: %w", fmt.Errorf("middle: %w", base)), 254, "list: outer: middle: cause\n"},
		{errors.Join(errors.New("a"), errors.New("b")), 254, "list: a; b\n"},
		{fmt.Errorf("x: %w", hint.With(base, "do this")), 254, "list: x: cause\nhint: do this\n"},
		{&statusError{1, base}, 1, "list: cause\n"},
		{fs.ErrPermission, 254, "list: permission denied\nhint: run rkt as root or as a member of the group \"rkt\"\n"},
		{errReported, 254, ""},
	} {
		d, _, stderr := testDeps(t)
		d.command = "list"
		if status := d.report(newRoot(d), tc.err); status != tc.status || stderr.String() != tc.stderr {
			t.Errorf("%v: %d, %q", tc.err, status, stderr)
		}
	}
}

func TestLogger(t *testing.T) {
	d, _, stderr := testDeps(t)
	d.command = "fetch"
	log := d.Logger("image").With("image", "sha512-1")
	log.Debug("hidden")
	log.Warn("line\nbreak", "pod", "p")
	d.Logger("").Info("own", "component", "other")
	d.Global.Debug = true
	d.Logger("stage0").Debug("seen")
	want := "image: line; break image=sha512-1 pod=p\nother: own\nstage0: seen\n"
	if diff := cmp.Diff(want, stderr.String()); diff != "" {
		t.Error(diff)
	}
}

// brokenWriter is a stdout that is full.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAnswerThatCannotBeWritten(t *testing.T) {
	d, _, stderr := testDeps(t)
	d.Stdout = brokenWriter{}
	if status := Main(t.Context(), d, []string{"version"}); status != 254 || !strings.Contains(stderr.String(), "no space left") {
		t.Errorf("%d, %s", status, stderr)
	}
}

func samplePods(now time.Time) []pod.Info {
	code := 3
	return []pod.Info{
		{
			UUID: "11111111-1111-4111-8111-111111111111", State: pod.Running, PID: 42,
			Created: now.Add(-2 * time.Hour), Started: now.Add(-time.Hour),
			Networks: []pod.Network{{Name: "default", IP: "172.16.28.7"}, {Name: "b", IP: "10.0.0.2"}},
			Apps: []pod.AppInfo{
				{Name: "redis", State: pod.AppRunning, ImageName: "example.com/redis", ImageVersion: "7", ImageID: "sha512-0123456789abcdef"},
				{Name: "x", State: pod.AppRunning, ImageID: "sha512-01"},
			},
		},
		{UUID: "22222222-2222-4222-8222-222222222222", State: pod.Preparing},
		{
			UUID: "33333333-3333-4333-8333-333333333333", State: pod.ExitedGarbage, Created: now.Add(-24 * time.Hour),
			Apps: []pod.AppInfo{{Name: "a", ImageName: "n", ImageID: "sha512-0123456789abcdef", State: pod.AppExited, ExitCode: &code}},
		},
	}
}

func TestListTable(t *testing.T) {
	d, _, _ := testDeps(t)
	pods := samplePods(d.Now())
	want := "UUID\t\tAPP\tIMAGE NAME\t\tSTATE\t\tCREATED\t\t\tSTARTED\t\tNETWORKS\n" +
		"11111111\tredis\texample.com/redis:7\trunning\t\t2 hours ago\t\t1 hour ago\tdefault:ip4=172.16.28.7, b:ip4=10.0.0.2\n" +
		"\t\tx\t--" + strings.Repeat("\t", 10) + "\n" +
		"22222222\t-\t-\t\t\tpreparing\ta long while ago\t\t\t\n" +
		"33333333\ta\tn\t\t\texited garbage\t1 day ago\t\t\t\t\n"
	if diff := cmp.Diff(want, table(podRows(pods, listOptions{}, d))); diff != "" {
		t.Error(diff)
	}
	rows := podRows(pods, listOptions{full: true, noLegend: true}, d)
	wantRow := []string{
		"11111111-1111-4111-8111-111111111111", "redis", "example.com/redis:7", "sha512-0123456789ab", "running",
		"2026-01-02 01:04:05 +0000 UTC", "2026-01-02 02:04:05 +0000 UTC", "default:ip4=172.16.28.7, b:ip4=10.0.0.2",
	}
	if diff := cmp.Diff(wantRow, rows[0]); diff != "" || len(rows) != 4 {
		t.Error(diff)
	}
	if got := rows[2][5]; got != "0001-01-01 00:00:00 +0000 UTC" {
		t.Errorf("unknown creation time is %s", got)
	}
}

func TestListJSON(t *testing.T) {
	d, stdout, _ := testDeps(t)
	if err := d.printJSON(podsJSON(samplePods(d.Now())[1:]), false); err != nil {
		t.Fatal(err)
	}
	want := `[{"name":"33333333-3333-4333-8333-333333333333","state":"exited garbage","app_names":["a"],` +
		`"apps":[{"name":"a","state":"exited","exit_code":3,"image_id":"sha512-0123456789abcdef"}],"created_at":1767236645}]` + "\n"
	if diff := cmp.Diff(want, stdout.String()); diff != "" {
		t.Error(diff)
	}
}

func TestStatusText(t *testing.T) {
	d, _, _ := testDeps(t)
	pods := samplePods(d.Now())
	want := []string{
		"state=running\ncreated=2026-01-02 01:04:05 +0000 UTC\nstarted=2026-01-02 02:04:05 +0000 UTC\n" +
			"networks=default:ip4=172.16.28.7, b:ip4=10.0.0.2\npid=42\nexited=false\n",
		"state=preparing\ncreated=0001-01-01 00:00:00 +0000 UTC\n",
		"state=exited garbage\ncreated=2026-01-01 03:04:05 +0000 UTC\nexited=true\napp-a=3\n",
	}
	for i, w := range want {
		if diff := cmp.Diff(w, statusText(&pods[i])); diff != "" {
			t.Error(diff)
		}
	}
}

// TestStatusVerified: verdicts follow everything else, and are in JSON.
func TestStatusVerified(t *testing.T) {
	d, stdout, _ := testDeps(t)
	in := samplePods(d.Now())[2]
	verified := []explain.Verification{{Status: explain.VerifiedUnknown, Detail: "nobody looked"}}
	if err := printStatus(d, in, verified, formatTable); err != nil {
		t.Fatal(err)
	}
	if want := statusText(&in) + "verified-a=unknown\n"; stdout.String() != want {
		t.Errorf("%s, want %s", stdout, want)
	}
	stdout.Reset()
	if err := printStatus(d, in, verified, formatJSON); err != nil {
		t.Fatal(err)
	}
	if want := `"verification":{"status":"unknown","detail":"nobody looked"}}]`; !strings.Contains(stdout.String(), want) {
		t.Errorf("%s, want %s", stdout, want)
	}
}

func TestListFaults(t *testing.T) {
	d, _, stderr := testDeps(t)
	d.command = "list"
	d.listFaults("pods", []error{errors.New("a\nb")})
	ruler := strings.Repeat("-", 32) + "\n"
	want := "list: 1 error(s) encountered when listing pods:\n" + ruler + "a; b\n" + ruler + "misc:\n  rkt's appc version: 0.8.11\n\n"
	if diff := cmp.Diff(want, stderr.String()); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkNewRoot(b *testing.B) {
	for b.Loop() {
		newRoot(&Deps{})
	}
}
