// SPDX-License-Identifier: Apache-2.0

package devfilter

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// groupEnv makes the test binary the process in the group: it joins that
// directory and tries the devices, each made beforehand in the directory of
// its argument.
const groupEnv = "RKT_DEVFILTER_TEST_GROUP"

func TestMain(m *testing.M) {
	group := os.Getenv(groupEnv)
	if group == "" {
		os.Exit(m.Run())
	}
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0); err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	for _, d := range nodes {
		_, _ = os.Stdout.WriteString(d.try(os.Args[1]) + "\n")
	}
}

// node is a device that the process in the group tries.
type node struct {
	name         string
	mode         uint32
	major, minor uint32
}

var nodes = []node{
	{"null", unix.S_IFCHR, 1, 3},
	{"zero", unix.S_IFCHR, 1, 5},
	{"full", unix.S_IFCHR, 1, 7},
	{"random", unix.S_IFCHR, 1, 8},
	{"urandom", unix.S_IFCHR, 1, 9},
	{"tty", unix.S_IFCHR, 5, 0},
	{"ptmx", unix.S_IFCHR, 5, 2},
	{"pts", unix.S_IFCHR, 136, 4095},
	{"mem", unix.S_IFCHR, 1, 1},
	{"kmsg", unix.S_IFCHR, 1, 11},
	{"console", unix.S_IFCHR, 5, 1},
	{"tun", unix.S_IFCHR, 10, 200},
	{"loop-control", unix.S_IFCHR, 10, 237},
	{"block7", unix.S_IFBLK, 240, 7},
	{"block8", unix.S_IFBLK, 240, 8},
}

func (n node) make(path string) error {
	return unix.Mknod(path, n.mode|0o600, int(unix.Mkdev(n.major, n.minor)))
}

// try says what reading, writing and making the device gives: "-" for EPERM,
// the letter for anything else, be it an error of the driver's.
func (n node) try(dir string) string {
	word := func(letter string, err error) string {
		if errors.Is(err, unix.EPERM) {
			return "-"
		}
		return letter
	}
	open := func(flags int) error {
		fd, err := unix.Open(filepath.Join(dir, n.name), flags|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	return n.name + " " + word("r", open(unix.O_RDONLY)) + word("w", open(unix.O_WRONLY)) +
		word("m", n.make(filepath.Join(dir, n.name+"-made")))
}

// attempt runs the process in a group.
func attempt(t *testing.T, group string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range nodes {
		if err := n.make(filepath.Join(dir, n.name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", dir)
	cmd.Env = append(os.Environ(), groupEnv+"="+group)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, answer, _ := strings.Cut(strings.TrimSpace(line), " ")
		got[name] = answer
	}
	return got
}

// newGroup makes a cgroup and removes it, and one below it, at the end.
func newGroup(t *testing.T, top string) string {
	t.Helper()
	dir := filepath.Join(top, fmt.Sprintf("rkt-devfilter-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Rmdir(filepath.Join(dir, "below"))
		if err := unix.Rmdir(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// unified finds the cgroup2 file system.
func unified(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	t.Skip("no cgroup2 file system is mounted")
	return ""
}

func closedAnswers() map[string]string {
	want := map[string]string{"ptmx": "rw-", "pts": "rw-"}
	for _, n := range nodes {
		switch n.name {
		case "null", "zero", "full", "random", "urandom", "tty":
			want[n.name] = "rwm"
		case "ptmx", "pts":
		default:
			want[n.name] = "---"
		}
	}
	return want
}

func check(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func TestAttach(t *testing.T) {
	testenv.NeedsRoot(t)
	group := newGroup(t, unified(t))
	free := attempt(t, group)
	for name, answer := range free {
		if answer != "rwm" && name != "console" && name != "mem" {
			t.Errorf("without a filter %s is %s", name, answer)
		}
	}
	rules := append(Closed(), Rule{Block, 240, 7, "r"})
	if err := Attach(group, rules); err != nil {
		t.Fatal(err)
	}
	want := closedAnswers()
	want["block7"] = "r--"
	check(t, "volume", attempt(t, group), want)

	// A group below is bound as well, and cannot be widened.
	below := filepath.Join(group, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Attach(below, Open()); err != nil {
		t.Fatal(err)
	}
	check(t, "below", attempt(t, below), want)
	if err := Attach(group, Closed()); err != nil {
		t.Fatal(err)
	}
	check(t, "closed on top", attempt(t, group), closedAnswers())
}

// TestAttachManyRules: the verifier takes long programs.
func TestAttachManyRules(t *testing.T) {
	testenv.NeedsRoot(t)
	group := newGroup(t, unified(t))
	rules := Closed()
	for minor := range int64(500) {
		rules = append(rules, Rule{Block, 8, minor, "rw"})
	}
	if err := Attach(group, rules); err != nil {
		t.Fatal(err)
	}
	check(t, "many", attempt(t, group), closedAnswers())
	for name, rules := range map[string][]Rule{"none": nil, "open": Open()} {
		if err := Attach(group, rules); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttachErrors(t *testing.T) {
	testenv.NeedsRoot(t)
	if err := Attach(t.TempDir(), Closed()); err == nil {
		t.Error("attached to a directory that is no cgroup")
	}
	if err := Attach(filepath.Join(t.TempDir(), "none"), Closed()); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
	if err := WriteV1(t.TempDir(), Closed()); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

func TestWriteV1(t *testing.T) {
	testenv.NeedsRoot(t)
	const top = "/sys/fs/cgroup/devices"
	if _, err := os.Stat(filepath.Join(top, "devices.allow")); err != nil {
		t.Skip("no devices controller of cgroup v1 is mounted")
	}
	group := newGroup(t, top)
	if err := WriteV1(group, append(Closed(), Rule{Block, 240, 7, "r"})); err != nil {
		t.Fatal(err)
	}
	want := closedAnswers()
	want["block7"] = "r--"
	check(t, "volume", attempt(t, group), want)
	list, err := os.ReadFile(filepath.Join(group, "devices.list"))
	if err != nil || strings.Count(string(list), "\n") != len(Closed())+1 || !strings.Contains(string(list), "c 136:* rw\n") {
		t.Errorf("%q, %v", list, err)
	}
	// Again, with less, and open.
	if err := WriteV1(group, Closed()); err != nil {
		t.Fatal(err)
	}
	check(t, "closed", attempt(t, group), closedAnswers())
	if err := WriteV1(group, Open()); err != nil {
		t.Fatal(err)
	}
	if got := attempt(t, group); got["block8"] != "rwm" || got["tun"] != "rwm" {
		t.Errorf("open: %v", got)
	}
}
