// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/idmap"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

func TestJournalctl(t *testing.T) {
	dir := t.TempDir()
	l := testLog(t, dir, testPod())
	lines := []string{
		"plain", "", " blanks ", "tab\tand \x1b[31mcolor\x1b[0m", "\xff\xfe\x00binary\x00", "ünïcode ✓",
		"MESSAGE=looks like a field", `quotes " and \ backslash`, "line\rend", "-- cursor: s=0", strings.Repeat("long ", 48<<10/5),
	}
	for i, line := range lines {
		if err := l.Line([]string{"web", "db"}[i%2], Stdout, 7, time.Now(), []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		entries := showJSON(t, dir)
		if len(entries) != len(lines) {
			t.Fatalf("%d entries", len(entries))
		}
		for i, e := range entries {
			if e["MESSAGE"] != lines[i] {
				t.Errorf("%.60q, want %.60q", e["MESSAGE"], lines[i])
			}
		}
		for k, v := range map[string]string{
			"PRIORITY": "6", "SYSLOG_IDENTIFIER": "db", "_PID": "7", "_TRANSPORT": "stdout", "_SYSTEMD_UNIT": "db.service",
			"RKT_APP": "db", "RKT_STREAM": "stdout", "_MACHINE_ID": testMachine, "_BOOT_ID": "b0070000000000000000000000000001",
		} {
			if entries[1][k] != v {
				t.Errorf("%s=%v, want %s", k, entries[1][k], v)
			}
		}
		if web := showJSON(t, dir, "_SYSTEMD_UNIT=web.service", "RKT_POD_UUID="+testPod().UUID); len(web) != 6 {
			t.Errorf("%d entries of web", len(web))
		}
		if out := journalctl(t, "-D", dir, "-t", "db", "-o", "cat", "-n", "1"); string(out) != "-- cursor: s=0\n" {
			t.Errorf("%q", out)
		}
		if out := journalctl(t, "-D", dir, "-F", "RKT_APP"); string(out) != "db\nweb\n" && string(out) != "web\ndb\n" {
			t.Errorf("%q", out)
		}
		if out := journalctl(t, "-D", dir, "--since=-1h", "--until=+1h", "-o", "cat", "-n", "+1"); len(out) == 0 {
			t.Log("-n +1 is not known to this version")
		}
	}
	check()
	mustClose(t, l)
	check()
	verify(t, dir)
}

func TestJournalctlEmpty(t *testing.T) {
	dir := t.TempDir()
	w := testWriter(t, dir, testOptions())
	if out := journalctl(t, "-D", dir); len(out) != 0 {
		t.Errorf("%q", out)
	}
	mustClose(t, w)
	verify(t, dir)
}

func TestJournalctlRotated(t *testing.T) {
	dir := t.TempDir()
	p := testPod()
	p.MaxFileSize, p.MaxTotalSize = MinFileSize, 16*MinFileSize
	l := testLog(t, dir, p)
	var want strings.Builder
	for i := range 7000 {
		fmt.Fprintf(&want, "line %d\n", i)
		if err := l.Line("web", Stdout, 7, time.Now(), fmt.Appendf(nil, "line %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, l)
	if diff := cmp.Diff(want.String(), string(journalctl(t, "-D", dir, "-o", "cat"))); diff != "" {
		t.Error(diff[:min(len(diff), 2000)])
	}
	verify(t, dir)
}

// What a reader sees while lines are written is a beginning of them.
func TestReadWhileWriting(t *testing.T) {
	testenv.NeedsProgram(t, "journalctl")
	dir := t.TempDir()
	p := testPod()
	p.MaxFileSize, p.MaxTotalSize = MinFileSize, 64*MinFileSize
	l := testLog(t, dir, p)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := l.Line("web", Stdout, 7, time.Now(), fmt.Appendf(nil, "line %d", i)); err != nil {
				done <- err
				return
			}
			time.Sleep(50 * time.Microsecond)
		}
	}()
	for range 10 {
		out := journalctl(t, "-D", dir, "-o", "cat", "_SYSTEMD_UNIT=web.service")
		for i, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
			if line != fmt.Sprintf("line %d", i) && len(out) > 0 {
				t.Fatalf("line %d is %q", i, line)
			}
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	program := testenv.NeedsProgram(t, "journalctl")
	dir := t.TempDir()
	p := testPod()
	p.MaxFileSize = MinFileSize
	l := testLog(t, dir, p)
	line := func(i int) {
		if err := l.Line("web", Stdout, 7, time.Now(), fmt.Appendf(nil, "line %d", i)); err != nil {
			t.Error(err)
		}
	}
	line(0)
	cmd := exec.Command(program, "--quiet", "-f", "-n", "all", "-o", "cat", "-D", dir)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer func() {
		timer.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	const n = 4000 // over two rotations
	in := bufio.NewScanner(out)
	for i := range n {
		if i > 0 && i%500 != 0 {
			continue
		}
		// Written only when what was written before has been seen.
		for j := max(1, i); j < min(n, i+500); j++ {
			line(j)
		}
		for j := i; j < min(n, i+500); j++ {
			if !in.Scan() {
				t.Fatalf("journalctl ended before line %d", j)
			}
			if in.Text() != fmt.Sprintf("line %d", j) {
				t.Fatalf("%q, want line %d", in.Text(), j)
			}
		}
	}
}

// TestCrashAtEachStep looks at the file as it is when the writer dies between
// any two steps: readers still get all entries before.
func TestCrashAtEachStep(t *testing.T) {
	testenv.NeedsProgram(t, "journalctl")
	dir := t.TempDir()
	w := testWriter(t, dir, testOptions())
	write := func(i int) {
		t.Helper()
		if err := w.Write(Entry{Realtime: time.Now(), Fields: []Field{{"MESSAGE", fmt.Appendf(nil, "line %d", i)}, {"A", []byte("b")}}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		write(i)
	}
	step := 0
	look := func() {
		t.Helper()
		step++
		m, err := os.ReadFile(filepath.Join(dir, activeName))
		if err != nil {
			t.Fatal(err)
		}
		copied := t.TempDir()
		if err := os.WriteFile(filepath.Join(copied, activeName), m, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, match := range []string{"A=b", "A=c"} {
			lines := strings.Split(strings.TrimSpace(string(journalctl(t, "-D", copied, "-o", "cat", match))), "\n")
			if match == "A=b" && (len(lines) < 20 || lines[19] != "line 19") {
				t.Errorf("step %d: %q", step, lines)
			}
		}
		if got := strings.Count(string(journalctl(t, "-D", copied, "-o", "cat")), "\n"); got < 20 {
			t.Errorf("step %d: %d lines", step, got)
		}
		// The next writer starts anew, and the old lines are still read.
		again := testWriter(t, copied, testOptions())
		if err := again.Write(Entry{Realtime: time.Now(), Fields: []Field{{"MESSAGE", []byte("next")}}}); err != nil {
			t.Fatal(err)
		}
		mustClose(t, again)
		if out := journalctl(t, "-D", copied, "-o", "cat"); !bytes.HasSuffix(out, []byte("next\n")) || !bytes.Contains(out, []byte("line 19\n")) {
			t.Errorf("step %d: %q", step, out)
		}
	}
	f := w.file
	r := record{seqnum: 21, realtime: f.lastRealtime + 1, monotonic: w.clock.last + 1, boot: w.o.BootID, payloads: [][]byte{[]byte("MESSAGE=last"), []byte("A=b"), []byte("NEW=1")}}
	objects, err := f.resolve(&r)
	if err != nil {
		t.Fatal(err)
	}
	p := f.layOut(objects)
	if err := f.reserve(p.end - f.tail); err != nil {
		t.Fatal(err)
	}
	look()
	f.store(&r, objects, &p)
	look()
	f.link(objects, &p)
	look()
	f.commit(&r, &p)
	look()
	verify(t, dir)
}

const crashEnv = "JOURNAL_TEST_CRASH"

// TestMain makes this program the writer that TestKill kills.
func TestMain(m *testing.M) {
	switch os.Getenv(crashEnv) {
	case "lines":
		writeUntilKilled(os.Args[1])
	case "full":
		answer(tryFullDisk(os.Args[1]))
	case "idmap":
		answer(tryIDMapped(os.Args[1]))
	default:
		os.Exit(m.Run())
	}
}

func writeUntilKilled(dir string) {
	p := testPod()
	p.MaxFileSize = MinFileSize
	l, err := OpenPod(dir, p)
	for i := 0; err == nil; i++ {
		if err = l.Line("web", Stdout, 7, time.Now(), fmt.Appendf(nil, "line %d", i)); err == nil {
			_, err = fmt.Printf("%d\n", i)
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

func TestKill(t *testing.T) {
	testenv.NeedsProgram(t, "journalctl")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		dir := t.TempDir()
		cmd := exec.Command(self, dir)
		cmd.Env = append(os.Environ(), crashEnv+"=lines")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := 1 + rand.IntN(4000)
		written := -1
		for in := bufio.NewScanner(out); in.Scan(); written++ {
			if in.Text() != fmt.Sprint(written+1) {
				t.Errorf("%q", in.Text())
				break
			}
			if written == kill {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		lines := strings.Split(string(journalctl(t, "-D", dir, "-o", "cat")), "\n")
		if len(lines) <= written || lines[written] != fmt.Sprintf("line %d", written) {
			t.Errorf("%d lines after line %d was written", len(lines)-1, written)
		}
	}
}

// TestMounts needs file systems of its own, each in a process of its own.
func TestMounts(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "journalctl")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"full", "idmap"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := idmap.Supported(dir); err != nil && name == "idmap" {
				t.Skip(err)
			}
			cmd := exec.Command(self, dir)
			cmd.Env = append(os.Environ(), crashEnv+"="+name)
			cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != "ok\n" {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func answer(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

// tryIDMapped is the journal of a pod with a user namespace.
func tryIDMapped(dir string) error {
	const shift = 1 << 20
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	tree, err := idmap.Clone(dir, 0)
	if err != nil {
		return err
	}
	if err := idmap.Mount(tree, shift, 1<<16); err != nil {
		return err
	}
	if err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	p := testPod()
	p.MaxFileSize, p.MaxTotalSize = MinFileSize, 2*MinFileSize
	l, err := OpenPod(dir, p)
	if err != nil {
		return err
	}
	const n = 6000
	for i := range n {
		if err := l.Line("web", Stdout, 7, time.Now(), fmt.Appendf(nil, "line %d", i)); err != nil {
			return err
		}
	}
	if err := l.Close(); err != nil {
		return err
	}
	for _, name := range []string{testMachine, filepath.Join(testMachine, activeName)} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, name), &st); err != nil || st.Uid != shift || st.Gid != shift {
			return fmt.Errorf("%s belongs to %d:%d, %w", name, st.Uid, st.Gid, err)
		}
	}
	out, err := exec.Command("journalctl", "--no-pager", "--quiet", "-o", "cat", "-n", "1", "-D", dir).CombinedOutput()
	if err != nil || string(out) != fmt.Sprintf("line %d\n", n-1) {
		return fmt.Errorf("%q, %w", out, err)
	}
	return nil
}

func tryFullDisk(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		return err
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		return err
	}
	p := testPod()
	p.MaxFileSize, p.MaxTotalSize = MinFileSize, 16*MinFileSize
	l, err := OpenPod(dir, p)
	if err != nil {
		return err
	}
	n := 0
	line := func() error {
		err := l.Line("web", Stdout, 7, time.Now(), fmt.Appendf(nil, "line %d", n))
		if err == nil {
			n++
		}
		return err
	}
	for err == nil && n < 100000 {
		err = line()
	}
	if !isNoSpace(err) {
		return fmt.Errorf("after %d lines: %w", n, err)
	}
	full := n
	if err := lookFor(dir, n); err != nil {
		return err
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	for range 1000 {
		if err := line(); err != nil {
			return fmt.Errorf("there is room again: %w", err)
		}
	}
	if n != full+1000 {
		return fmt.Errorf("%d lines", n)
	}
	if err := l.Close(); err != nil {
		return err
	}
	return lookFor(dir, n)
}

func isNoSpace(err error) bool {
	return err != nil && strings.Contains(err.Error(), unix.ENOSPC.Error())
}

func lookFor(dir string, n int) error {
	out, err := exec.Command("journalctl", "--no-pager", "--quiet", "-o", "cat", "-D", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != n || lines[n-1] != fmt.Sprintf("line %d", n-1) {
		return fmt.Errorf("%d of %d lines", len(lines), n)
	}
	return nil
}
