// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/rkt/rkt/v2/tests/harness"
)

var logLine = regexp.MustCompile(`^\[[0-9]+\.[0-9]{6}\] app\[([0-9]+)\]: (.*)$`)

// TestPodLog: how rkt run prints what apps write.
func TestPodLog(t *testing.T) {
	p := newPods(t)
	r := p.Run(p.shell("echo $$; echo; printf 'no end'; echo err >&2; printf 'a\\tb\\033[1m\\r\\n'")...)
	lines := strings.Split(strings.TrimSuffix(r.Stdout, "\n"), "\n")
	var texts []string
	pid := ""
	for _, l := range lines {
		m := logLine.FindStringSubmatch(l)
		if m == nil {
			t.Errorf("line %q", l)
			continue
		}
		texts = append(texts, m[2])
		if pid == "" {
			pid = m[2]
		}
		if m[1] != pid && pid != "err" {
			t.Errorf("process ID %s, the app's is %s", m[1], pid)
		}
	}
	joined := strings.Join(texts, "|")
	if r.Status != 0 || !strings.Contains(joined, "no enda\tb\x1b[1m\r") || !strings.Contains(joined, "err") || len(texts) != 4 {
		t.Errorf("%q: %s", joined, r)
	}
	p.expect("last words\n", "printf 'last words'")
	if r := p.Run(p.shell("printf 'last words'; exit 3")...); r.Status != 3 || harness.AppOutput(r.Stdout, "app") != "last words\n" {
		t.Errorf("of an app that fails: %s", r)
	}
	if r := p.Run(p.shell("printf 'last words'; kill -9 $$")...); r.Status != 9 || harness.AppOutput(r.Stdout, "app") != "last words\n" {
		t.Errorf("of an app that is killed: %s", r)
	}
	p.expect("no terminal\n", "[ -t 0 ] || [ -t 1 ] || [ -t 2 ] || echo no terminal; cat")
	p.expect("child of the app\n", "(sleep 0.2; echo child of the app) & wait")
}

// TestPodLogKeepsAll: fast output, long lines, many writers.
func TestPodLogKeepsAll(t *testing.T) {
	p := newPods(t)
	const lines = 20000
	got := p.sh(fmt.Sprintf("seq 1 %d", lines))
	var want strings.Builder
	for i := 1; i <= lines; i++ {
		want.WriteString(strconv.Itoa(i) + "\n")
	}
	if got != want.String() {
		t.Errorf("%d lines arrive, %d bytes of %d", strings.Count(got, "\n"), len(got), want.Len())
	}
	if got := p.sh("head -c 40000 /dev/zero | tr '\\0' x; echo"); got != strings.Repeat("x", 40000)+"\n" {
		t.Errorf("a line of 40000 characters: %d characters in %d lines", len(got), strings.Count(got, "\n"))
	}
	r := p.Run("run", p.stage1, "--net=none", p.image, "--name=one", "--exec=/bin/seq", "--", "1", "3000", "---", p.image, "--name=two", "--exec=/bin/seq", "--", "1", "3000")
	for _, app := range []string{"one", "two"} {
		if out := harness.AppOutput(r.Stdout, app); strings.Count(out, "\n") != 3000 || !strings.HasSuffix(out, "\n3000\n") {
			t.Errorf("app %s: %d lines", app, strings.Count(out, "\n"))
		}
	}
}

// TestPodStdoutGone: whoever started rkt has closed its end.
func TestPodStdoutGone(t *testing.T) {
	p := newPods(t)
	cmd := p.Cmd(t.Context(), p.shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.05; done; exit 5")...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Close(), r.Close()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("%v, want the app's exit status 5", err)
	}
}

// interactive runs rkt on a terminal of its own.
func (p *pods) interactive(script string, flags ...string) (*os.File, *exec.Cmd) {
	p.t.Helper()
	cmd := p.Cmd(p.t.Context(), p.shell(script, append(flags, "--interactive")...)...)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 99})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = f.Close() })
	return f, cmd
}

// readUntil reads what a terminal shows until a text is there.
func readUntil(t *testing.T, f *os.File, want string) string {
	t.Helper()
	var all strings.Builder
	b := make([]byte, 4096)
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(all.String(), want) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in %q", want, all.String())
		}
		n, err := f.Read(b)
		all.Write(b[:n])
		if err != nil {
			t.Fatalf("no %q in %q: %v", want, all.String(), err)
		}
	}
	return all.String()
}

// TestPodInteractive: the app has rkt's terminal.
func TestPodInteractive(t *testing.T) {
	p := newPods(t)
	f, cmd := p.interactive("tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminals; stty size; echo $TERM; trap 'stty size' WINCH; echo ready; read line; echo got $line; while ! [ -e /go ]; do sleep 0.05; done; exit 4")
	out := readUntil(t, f, "ready")
	for _, want := range []string{"/dev/pts/", "terminals\r\n", "33 99\r\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	if _, err := io.WriteString(f, "some words\n"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, f, "got some words")
	if err := pty.Setsize(f, &pty.Winsize{Rows: 44, Cols: 111}); err != nil {
		t.Fatal(err)
	}
	readUntil(t, f, "44 111")
	if _, err := io.WriteString(f, "\x03"); err != nil { // the shell dies of ^C
		t.Fatal(err)
	}
	_, _ = io.ReadAll(f) // EIO when the other side closes
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 2 && got != 130 {
		t.Errorf("exit status %d, want the death by SIGINT", got)
	}
}

// TestPodInteractiveEscape: ^] three times ends the pod.
func TestPodInteractiveEscape(t *testing.T) {
	p := newPods(t)
	f, cmd := p.interactive("stty -isig; echo ready; cat")
	readUntil(t, f, "ready")
	if _, err := io.WriteString(f, "\x1d\x1dx"); err != nil { // two do not
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond) // longer than the escape may take
	if _, err := io.WriteString(f, "\x1d\x1d\x1d"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(f)
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 1 {
		t.Errorf("exit status %d, want 1", got)
	}
}

// TestPodInteractiveHangup: with the terminal the pod goes.
func TestPodInteractiveHangup(t *testing.T) {
	p := newPods(t)
	f, cmd := p.interactive("echo ready; sleep 1000")
	readUntil(t, f, "ready")
	_ = f.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Errorf("the pod lives on")
		_ = cmd.Process.Kill()
		<-done
	}
	p.refused(254, "interactive option only supports one image", "run", p.stage1, "--interactive", p.image, p.image, "--name=two")
}

// TestPodInteractivePipe: --interactive without a terminal still works.
func TestPodInteractivePipe(t *testing.T) {
	p := newPods(t)
	r := p.RunWith("from the pipe\n", p.shell("read x; echo \"got $x\"", "--interactive")...)
	if r.Status != 0 || !strings.Contains(r.Stdout, "got from the pipe") {
		t.Errorf("%s", r)
	}
}

// TestPodStreams: the modes of --stdin, --stdout and --stderr.
func TestPodStreams(t *testing.T) {
	p := newPods(t)
	r := p.Run(p.shell("echo out; echo err >&2", "--stdout=null")...)
	if r.Status != 0 || harness.AppOutput(r.Stdout, "app") != "err\n" {
		t.Errorf("--stdout=null: %s", r)
	}
	r = p.Run(p.shell("echo out; echo err >&2", "--stdout=log", "--stderr=null")...)
	if r.Status != 0 || harness.AppOutput(r.Stdout, "app") != "out\n" {
		t.Errorf("--stderr=null: %s", r)
	}
	p.expect("yes no\n", "[ -t 0 ] && a=yes; [ -t 1 ] || b=no; echo $a $b", "--stdin=tty")
	for flag, want := range map[string]string{"--stdin=log": `invalid stdin mode "log"`, "--stdout=x": `invalid stdout mode "x"`, "--stderr=": `invalid stderr mode ""`} {
		p.refused(254, want, p.shell("true", flag)...)
	}
}

// TestPodAttach: attach to streams and to a terminal.
func TestPodAttach(t *testing.T) {
	p := newPods(t)
	if p.Run("attach", "--help").Status != 0 {
		t.Skip("this rkt has no attach")
	}
	proc := p.start(p.shell("echo ready >&2; while read x; do echo \"got $x\"; [ $x = end ] && exit 6; done", "--stdin=stream", "--stdout=stream")...)
	var list struct {
		Version int
		Targets []struct{ Name, Domain, Address string }
	}
	if err := json.Unmarshal([]byte(p.OK("attach", "--mode=list", proc.UUID)), &list); err != nil || list.Version != 1 || len(list.Targets) != 2 {
		t.Errorf("list: %+v, %v", list, err)
	}
	r := p.RunWith("one\ntwo\nend\n", "attach", "--mode=stdin,stdout", proc.UUID)
	if !strings.Contains(r.Stdout, "got one\ngot two\n") {
		t.Errorf("%s", r)
	}
	if r := proc.Wait(); r.Status != 6 {
		t.Errorf("%s", r)
	}
	p.Fail(254, `unknown endpoint "x"`, "attach", "--mode=x", proc.UUID)
}

// TestPodJournal: the journal of the pod has the lines, too.
func TestPodJournal(t *testing.T) {
	p := newPods(t)
	journalctl, err := exec.LookPath("journalctl")
	if err != nil {
		t.Skip("needs journalctl to compare with")
	}
	r, uuid := p.runUUID(p.shell("for i in 1 2 3; do echo line $i; done; logger -t other hello; echo last")...)
	if r.Status != 0 {
		t.Fatalf("%s", r)
	}
	dirs, _ := filepath.Glob(filepath.Join(p.PodDir(uuid), "overlay", "*", "upper", "var/log/journal", strings.ReplaceAll(uuid, "-", "")))
	if len(dirs) != 1 {
		t.Fatalf("journal directories: %v", dirs)
	}
	out, err := exec.Command(journalctl, "-D", dirs[0], "-o", "cat", "-t", "app").CombinedOutput()
	if err != nil || string(out) != "line 1\nline 2\nline 3\nlast\n" {
		t.Errorf("%q, %v", out, err)
	}
	// what an app hands to /dev/log goes there by way of the pod's journald
	out, err = exec.Command(journalctl, "-D", dirs[0], "-o", "cat", "-t", "other").CombinedOutput()
	if err != nil || string(out) != "hello\n" {
		t.Errorf("of /dev/log: %q, %v", out, err)
	}
}

// TestPodAttachTTY: a terminal of the app's own, for whoever attaches.
func TestPodAttachTTY(t *testing.T) {
	p := newPods(t)
	proc := p.Start(append([]string{"run", "--uuid-file-save=" + filepath.Join(t.TempDir(), "uuid")}, p.shell(
		"tty; until [ -e /tmp/go ]; do sleep 0.05; done; echo hello; read x; echo \"got $x\"; exit 3", "--stdin=tty", "--stdout=tty", "--stderr=tty")[1:]...)...)
	deadline := time.Now().Add(20 * time.Second)
	uuid := ""
	for uuid == "" && time.Now().Before(deadline) {
		for _, u := range p.Pods() {
			if p.Run("enter", u, "/bin/true").Status == 0 {
				uuid = u
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	cmd := p.Cmd(t.Context(), "attach", "--mode=tty", uuid)
	f, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	p.OK("enter", uuid, "/bin/sh", "-c", "sleep 0.5; touch /tmp/go") // attach needs a moment to connect
	readUntil(t, f, "hello")
	if _, err := io.WriteString(f, "words\n"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, f, "got words")
	if r := proc.Wait(); r.Status != 3 {
		t.Errorf("%s", r)
	}
	_, _ = io.ReadAll(f)
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 0 {
		t.Errorf("attach ends with %d", got)
	}
}
