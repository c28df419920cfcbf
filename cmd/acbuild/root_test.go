// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// lab is a directory with a build that has busybox.
type lab struct {
	*testing.T
	dir string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	testenv.NeedsRoot(t)
	busybox := testenv.NeedsProgram(t, "busybox")
	l := &lab{t, t.TempDir()}
	l.must("begin")
	l.must("copy", busybox, "/bin/busybox")
	for _, name := range []string{"sh", "ls", "cat", "touch", "sleep", "rm", "mkdir"} {
		l.link("busybox", "bin/"+name)
	}
	return l
}

func (l *lab) rootfs(name string) string {
	return filepath.Join(l.dir, ".acbuild/currentaci/rootfs", name)
}

func (l *lab) link(to, name string) {
	l.Helper()
	if err := os.Symlink(to, l.rootfs(name)); err != nil {
		l.Fatal(err)
	}
}

// command is acbuild in the directory of the lab; the test binary plays it.
func (l *lab) command(args ...string) *exec.Cmd {
	l.Helper()
	program, err := exec.LookPath("acbuild") // of testscript.Main
	if err != nil {
		l.Fatal(err)
	}
	cmd := exec.CommandContext(l.Context(), program, args...)
	cmd.Dir = l.dir
	return cmd
}

// run returns the status and what was printed.
func (l *lab) run(args ...string) (status int, stdout, stderr string) {
	l.Helper()
	var out, errs bytes.Buffer
	cmd := l.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func (l *lab) must(args ...string) string {
	l.Helper()
	status, out, errs := l.run(args...)
	if status != 0 {
		l.Fatalf("acbuild %q: status %d\n%s", args, status, errs)
	}
	return out
}

// tree lists everything of the image.
func (l *lab) tree() (names []string) {
	l.Helper()
	err := filepath.WalkDir(l.rootfs(""), func(p string, _ fs.DirEntry, err error) error {
		names = append(names, strings.TrimPrefix(p, l.rootfs("")))
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	return names
}

func (l *lab) sameTree(want []string) {
	l.Helper()
	if got := l.tree(); !slices.Equal(got, want) {
		l.Errorf("the image has\n%q, not\n%q", got, want)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		l.Fatal(err)
	}
	if bytes.Contains(mounts, []byte(l.dir)) {
		l.Errorf("something is mounted:\n%s", mounts)
	}
}

func TestRunChroot(t *testing.T) {
	l := newLab(t)
	before := l.tree()
	status, out, errs := l.run("run", "--engine=chroot", "--", "sh", "-c", "echo $PATH; ls -d /dev/null /proc/self/exe; exit 7")
	if status != 7 || errs != "" || !strings.HasPrefix(out, "/usr/local/sbin:/usr/local/bin:") || !strings.Contains(out, "/dev/null\n") {
		t.Errorf("status %d\n%s\n%s", status, out, errs)
	}
	l.sameTree(before)
	for want, args := range map[string][]string{
		"run: nothing not found in any of: [/usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin]\n": {"--", "nothing"},
		"run: binary \"/nothing\" doesn't exist\n":                                                           {"--", "/nothing"},
		"run: working directory \"/none\" is not a directory of the image\n":                                 {"--working-dir=/none", "--", "ls"},
	} {
		if status, _, errs := l.run(append([]string{"run", "--engine=chroot"}, args...)...); status != 1 || errs != want {
			t.Errorf("%q: status %d: %s", args, status, errs)
		}
	}
	if status, out, errs := l.run("run", "--engine=none", "ls"); status != 1 || out != "" || errs != "run: no such engine \"none\"\n" {
		t.Errorf("%d %q %q", status, out, errs)
	}
	l.sameTree(before)

	// The image's own variables, arguments as they are, and changes that stay.
	l.must("env", "add", "PATH", "/bin")
	l.must("env", "add", "A", "x,y")
	out = l.must("run", "--engine=chroot", "--working-dir=/bin", "--", "sh", "-c", "echo $PATH $A \"$0\"; touch here; echo mine >/etc/resolv.conf", "a,b c")
	if out != "/bin x,y a,b c\n" {
		t.Errorf("%q", out)
	}
	if data, err := os.ReadFile(l.rootfs("etc/resolv.conf")); err != nil || string(data) != "mine\n" {
		t.Errorf("%q, %v", data, err)
	}
	l.sameTree(slices.Sorted(slices.Values(append(before, "/bin/here", "/etc", "/etc/resolv.conf"))))
}

// A killed run leaves files behind; the next command takes them away.
func TestRunKilled(t *testing.T) {
	l := newLab(t)
	before := l.tree()
	cmd := l.command("run", "--engine=chroot", "--", "sh", "-c", "echo started; exec sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := l.run("set-name", "a"); status != 1 || !strings.Contains(errs, "lock already held") {
		t.Errorf("status %d: %s", status, errs)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if slices.Equal(l.tree(), before) {
		t.Error("nothing was left: the test tests nothing")
	}
	deadline := time.Now().Add(10 * time.Second)
	for { // until the death signal has reached the command
		status, _, errs := l.run("cat-manifest")
		if status == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(errs)
		}
	}
	l.sameTree(before)
}

func TestRunNspawn(t *testing.T) {
	testenv.NeedsProgram(t, "systemd-nspawn")
	l := newLab(t)
	before := l.tree()
	out := l.must("run", "--working-dir=/bin", "--", "sh", "-c", "echo $PATH; ls busybox; touch /made")
	if !strings.HasSuffix(out, "busybox\n") {
		t.Errorf("%q", out)
	}
	l.sameTree(slices.Sorted(slices.Values(append(before, "/made"))))
	if status, _, errs := l.run("run", "--", "sh", "-c", "exit 3"); status != 1 || !strings.HasSuffix(errs, "run: non-zero exit code: 3\n") {
		t.Errorf("status %d: %s", status, errs)
	}
}

// What is mounted in the image on the host is none of its content, and links
// of the image do not make scratch files outside of it.
func TestRunHostileLinks(t *testing.T) {
	l := newLab(t)
	outside := t.TempDir()
	l.link(outside, "etc")
	l.link(outside, "proc")
	before := l.tree()
	l.must("run", "--engine=chroot", "--", "ls", "/")
	l.sameTree(before)
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// Owners, modes and devices survive the way through an image.
func TestRootMetadata(t *testing.T) {
	l := newLab(t)
	src := filepath.Join(l.dir, "src")
	for _, err := range []error{
		os.Mkdir(src, 0o751),
		os.WriteFile(filepath.Join(src, "file"), []byte("x"), 0o600),
		os.Chown(filepath.Join(src, "file"), 12, 34),
		os.Chmod(filepath.Join(src, "file"), 0o4711|os.ModeSetuid),
		os.Link(filepath.Join(src, "file"), filepath.Join(src, "hard")),
		unix.Mknod(filepath.Join(src, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mkfifo(filepath.Join(src, "fifo"), 0o640),
		unix.Setxattr(filepath.Join(src, "file"), "user.a", []byte("b"), 0),
		os.Chtimes(src, time.Unix(1, 0), time.Unix(1000000000, 5)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l.must("copy", "src", "/dst")
	l.must("set-name", "example.com/a")
	l.must("write", "a.aci")
	l.must("end")
	l.must("begin", "./a.aci")
	for _, name := range []string{"", "file", "hard", "null", "fifo"} {
		var want, got unix.Stat_t
		if err := errors.Join(unix.Lstat(filepath.Join(src, name), &want), unix.Lstat(l.rootfs("dst/"+name), &got)); err != nil {
			t.Fatal(err)
		}
		if want.Mode != got.Mode || want.Uid != got.Uid || want.Gid != got.Gid || want.Rdev != got.Rdev ||
			want.Nlink != got.Nlink || want.Mtim.Sec != got.Mtim.Sec {
			t.Errorf("%q: %+v, not %+v", name, got, want)
		}
	}
	value := make([]byte, 10)
	if n, err := unix.Getxattr(l.rootfs("dst/file"), "user.a", value); err != nil || string(value[:n]) != "b" {
		t.Errorf("attribute %q, %v", value, err)
	}
}
