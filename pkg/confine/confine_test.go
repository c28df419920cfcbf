// SPDX-License-Identifier: Apache-2.0

package confine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/pkg/seccomp"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

// A child of the test confines itself and executes the test program once more,
// which then tells what it has become.
const (
	childEnv = "RKT_CONFINE_TEST_CHILD" // an order
	lookEnv  = "RKT_CONFINE_TEST_LOOK"
)

type order struct {
	Profile string
	Program Program
}

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(lookEnv) != "":
		look()
		os.Exit(0)
	case os.Getenv(childEnv) == "":
		os.Exit(m.Run())
	}
	runtime.LockOSThread()
	var o order
	err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o)
	if err == nil {
		var p *profile.Profile
		if p, err = profile.Parse([]byte(o.Profile)); err == nil {
			err = Exec(p, o.Program)
		}
	}
	fmt.Println("error: " + err.Error())
	os.Exit(1)
}

func look() {
	status, _ := os.ReadFile("/proc/thread-self/status")
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if slices.Contains(strings.Fields("Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Umask"), name) {
			fmt.Println(name + " " + strings.Join(strings.Fields(value), " "))
		}
	}
	dir, _ := os.Getwd()
	fmt.Println("dir " + dir)
	fmt.Printf("args %q\n", os.Args)
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	fmt.Println("oom " + strings.TrimSpace(string(score)))
	var l unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &l)
	fmt.Println("core", l.Cur, l.Max)
	for _, fd := range []int{3, 7, 9} {
		to, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		if err == nil && !strings.HasPrefix(to, "anon_inode") && !strings.HasPrefix(to, "/sys/fs/cgroup") { // the runtime's own
			fmt.Println("fd", fd, to)
		}
	}
}

// program is a copy of the test program that every user may execute.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "self")
	if err := os.Link(self, file); err != nil {
		data, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// confined runs a child and returns what it printed and its exit status.
func confined(t *testing.T, p *profile.Profile, prog Program, setup ...func(*exec.Cmd)) (string, int) {
	t.Helper()
	testenv.NeedsRoot(t)
	self := program(t)
	if prog.Path == "" {
		prog.Path = self
		prog.Env = []string{lookEnv + "=1"}
	}
	if prog.WorkDir == "" {
		prog.WorkDir = "/"
	}
	data, err := json.Marshal(order{string(p.Marshal()), prog})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(data))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	for _, s := range setup {
		s(cmd)
	}
	_ = cmd.Run()
	return out.String(), cmd.ProcessState.ExitCode()
}

// has wants lines in an output.
func has(t *testing.T, out string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains("\n"+out, "\n"+l+"\n") {
			t.Errorf("no line %q in\n%s", l, out)
		}
	}
}

// policy allows what a Go program needs: everything but a few calls.
func policy(removed ...string) *seccomp.Policy {
	return &seccomp.Policy{Mode: seccomp.Remove, Calls: removed, Errno: unix.EACCES}
}

func TestExec(t *testing.T) {
	bounding, score := caps.Set(1<<5|1<<6|1<<7), int64(123)
	limits, err := Rlimits()
	if err != nil {
		t.Fatal(err)
	}
	limits[unix.RLIMIT_CORE] = profile.Rlimit{Cur: 7, Max: 8}
	null := func(cmd *exec.Cmd) {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		cmd.ExtraFiles = slices.Repeat([]*os.File{f}, 7) // descriptors 3 to 9
	}
	p := &profile.Profile{App: "a", UID: 1000, GID: 50, Groups: []int{7, 9}, Bounding: &bounding, Seccomp: policy("mkdir"), NoNewPrivs: true, OOMScoreAdj: &score, Rlimits: limits}
	out, status := confined(t, p, Program{WorkDir: "/tmp", Args: []string{"", "a b", "$X"}, Keep: []int{7}}, null)
	if status != 0 {
		t.Errorf("status %d", status)
	}
	has(t, out, "Uid 1000 1000 1000 1000", "Gid 50 50 50 50", "Groups 7 9 50", "CapInh 0000000000000000", "CapPrm 0000000000000000", "CapEff 0000000000000000",
		"CapBnd 00000000000000e0", "CapAmb 0000000000000000", "NoNewPrivs 1", "Seccomp 2", "Umask 0022", "dir /tmp", "oom 123", "core 7 8", "fd 7 /dev/null")
	if strings.Contains(out, "fd 3") || strings.Contains(out, "fd 9") || !strings.Contains(out, `"" "a b" "$X"]`) {
		t.Errorf("%s", out)
	}
	root := &profile.Profile{App: "a", Bounding: &bounding, Seccomp: policy("mkdir")}
	out, _ = confined(t, root, Program{}, null)
	has(t, out, "Uid 0 0 0 0", "Groups 0", "CapPrm 00000000000000e0", "CapEff 00000000000000e0", "CapBnd 00000000000000e0", "NoNewPrivs 0", "Seccomp 2", "dir /")
	if strings.Contains(out, "fd ") {
		t.Errorf("descriptors are inherited:\n%s", out)
	}
	out, _ = confined(t, &profile.Profile{App: "a"}, Program{})
	has(t, out, "Seccomp 0", "NoNewPrivs 0", "CapInh 0000000000000000", "CapAmb 0000000000000000")
}

func TestWorkDir(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/proc/self/fd/1", link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/proc/self/fd/0", "/proc/self/root", "/proc/self/cwd", "/proc/1/root/tmp", link, "/not/there", "/etc/passwd", "\x00"} {
		out, status := confined(t, &profile.Profile{App: "a"}, Program{WorkDir: dir})
		if status != 1 || !strings.Contains(out, "error: can't change to working directory "+strconv.Quote(dir)) {
			t.Errorf("%q: status %d\n%s", dir, status, out)
		}
	}
	good := filepath.Join(t.TempDir(), "good")
	if err := os.Symlink("/usr/bin", good); err != nil {
		t.Fatal(err)
	}
	out, _ := confined(t, &profile.Profile{App: "a"}, Program{WorkDir: good})
	has(t, out, "dir /usr/bin")
}

// TestCannotExecute: a filter that is in force already does not keep the reason
// and the status from whoever waits.
func TestCannotExecute(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("\x00\x01"), 0o755); err != nil {
		t.Fatal(err)
	}
	minimal := &seccomp.Policy{Mode: seccomp.Retain, Calls: []string{"execve", "exit_group", "futex"}, Errno: unix.EPERM}
	for name, tt := range map[string]struct {
		filter *seccomp.Policy
		path   string
		status int // wanted of the profile
		want   int
		text   string
	}{
		"no filter":          {nil, garbage, 203, 1, "error: cannot execute " + strconv.Quote(garbage) + ": exec format error\n"},
		"unfiltered":         {&seccomp.Policy{Unfiltered: true}, "/not/there", 0, 1, "error: cannot execute \"/not/there\": no such file or directory\n"},
		"filter":             {policy("mkdir"), garbage, 203, 203, "cannot execute " + strconv.Quote(garbage) + ": exec format error\n"},
		"without a status":   {policy("mkdir"), "/not/there", 0, 254, "cannot execute \"/not/there\": no such file or directory\n"},
		"no write":           {minimal, garbage, 203, 203, ""},
		"write removed":      {policy("write"), garbage, 203, 203, ""},
		"a NUL byte":         {policy("mkdir"), "/a\x00b", 203, 1, "error: cannot execute \"/a\\x00b\": invalid argument\n"},
		"exit_group removed": {policy("exit_group"), garbage, 203, 203, "cannot execute " + strconv.Quote(garbage) + ": exec format error\n"},
	} {
		t.Run(name, func(t *testing.T) {
			out, status := confined(t, &profile.Profile{App: "a", Seccomp: tt.filter}, Program{Path: tt.path, Status: tt.status})
			if status != tt.want && (name != "exit_group removed" || status != -1) || out != tt.text {
				t.Errorf("status %d, %q; want %d, %q", status, out, tt.want, tt.text)
			}
		})
	}
}

// TestInherited: what the caller's capabilities were does not matter.
func TestInherited(t *testing.T) {
	setpriv := testenv.NeedsProgram(t, "setpriv")
	bounding := caps.Default
	out, _ := confined(t, &profile.Profile{App: "a", UID: 1000, GID: 1000, Bounding: &bounding}, Program{}, func(cmd *exec.Cmd) {
		cmd.Args = append([]string{setpriv, "--inh-caps=+chown,+sys_admin", "--ambient-caps=+chown", cmd.Path}, cmd.Args[1:]...)
		cmd.Path = setpriv
	})
	has(t, out, "CapInh 0000000000000000", "CapAmb 0000000000000000", "CapEff 0000000000000000")
}
