// SPDX-License-Identifier: Apache-2.0

package approot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appmount"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

// Every test mounts in a child of its own, in a mount namespace that ends with it.
const childEnv = "RKT_APPROOT_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread()
	var o order
	err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o)
	var seen answer
	if err == nil {
		seen.Error = text(o.carryOut(&seen))
	}
	if err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(seen)); err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// order is what the child is to do.
type order struct {
	Root     string
	Plan     appmount.Plan
	API      PodAPI
	ReadOnly bool
	Shared   string
	Look     []string // paths in the root
}

// answer is what it has seen.
type answer struct {
	Error string
	Seen  map[string]string
}

func (o order) carryOut(seen *answer) error {
	if err := Isolate(); err != nil {
		return err
	}
	t, err := Open(o.Root)
	if err != nil {
		return err
	}
	if err := t.Volumes(o.Plan, o.Shared, func(string) {}); err != nil {
		return err
	}
	if err := t.Pod(o.API); err != nil {
		return err
	}
	if o.ReadOnly {
		if err := t.ReadOnly(); err != nil {
			return err
		}
	}
	if err := unix.Fchdir(t.Root().FD()); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	seen.Seen = map[string]string{}
	for _, p := range o.Look {
		seen.Seen[p] = describe(p)
	}
	return nil
}

// describe is the kind of a file, its mode or target, and whether its file
// system is read-only.
func describe(path string) string {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err.Error()
	}
	var vfs unix.Statfs_t
	ro := ""
	if unix.Statfs(path, &vfs) == nil && vfs.Flags&unix.ST_RDONLY != 0 {
		ro = " ro"
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		to, err := os.Readlink(path)
		if err != nil {
			return err.Error()
		}
		return "link " + to
	case unix.S_IFDIR:
		kind := map[int64]string{unix.PROC_SUPER_MAGIC: "proc", unix.SYSFS_MAGIC: "sysfs"}[vfs.Type]
		return strings.TrimSpace(fmt.Sprintf("dir %o %s", st.Mode&0o7777, kind)) + ro
	case unix.S_IFCHR:
		return fmt.Sprintf("char %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	return fmt.Sprintf("file %o", st.Mode&0o7777) + ro
}

// do lets a child carry out an order.
func do(t *testing.T, o order) answer {
	t.Helper()
	testenv.NeedsRoot(t)
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(data))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return a
}

// expect carries out an order and compares what it looks at.
func expect(t *testing.T, o order, want map[string]string) {
	t.Helper()
	for p := range want {
		o.Look = append(o.Look, p)
	}
	slices.Sort(o.Look)
	a := do(t, o)
	if a.Error != "" {
		t.Fatal(a.Error)
	}
	for _, p := range o.Look {
		if a.Seen[p] != want[p] {
			t.Errorf("%s: %s, want %s", p, a.Seen[p], want[p])
		}
	}
}

// tree makes a root from a list: a name that ends in "/" is a directory, one
// with " -> " a link, everything else an empty file.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		from, to, link := strings.Cut(name, " -> ")
		file := filepath.Join(root, from)
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		switch {
		case err != nil:
		case link:
			err = os.Symlink(to, file)
		case strings.HasSuffix(from, "/"):
			err = os.MkdirAll(file, 0o755)
		default:
			err = os.WriteFile(file, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// list is every path below a directory with its kind, to see what has changed.
func list(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		all = append(all, p+" "+describe(p))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// api is that of a test: the hidden stand-ins are made here.
func api(t *testing.T) PodAPI {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hidden")
	if err := errors.Join(os.Mkdir(dir, 0), os.WriteFile(dir+"-file", nil, 0)); err != nil {
		t.Fatal(err)
	}
	return PodAPI{HiddenDir: dir, HiddenFile: dir + "-file"}
}

func TestPodBareRoot(t *testing.T) {
	a := api(t)
	a.ReadOnlyPaths = []string{"/proc/sys", "/sys/kernel", "/nowhere", "/file/below"}
	a.HiddenPaths = []string{"/proc/kcore", "/sys/fs", "/nowhere/at/all", "/secret", "/secrets"}
	expect(t, order{Root: tree(t, "file", "secret", "secrets/"), API: a}, map[string]string{
		"/proc": "dir 555 proc", "/proc/sys": "dir 555 proc ro", "/sys": "dir 555 sysfs", "/sys/kernel": "dir 755 sysfs ro", "/sys/fs": "dir 0 ro",
		"/secret": "file 0 ro", "/secrets": "dir 0 ro", "/file": "file 644", "/nowhere": "no such file or directory",
		"/dev": "dir 755", "/dev/net": "dir 755", "/dev/null": "char 1:3", "/dev/zero": "char 1:5", "/dev/full": "char 1:7", "/dev/random": "char 1:8", "/dev/urandom": "char 1:9",
		"/dev/tty": "char 5:0", "/dev/ptmx": "link /dev/pts/ptmx", "/dev/log": "link /run/systemd/journal/dev-log", "/dev/fd": "link /proc/self/fd",
		"/dev/stdin": "link /proc/self/fd/0", "/dev/stdout": "link /proc/self/fd/1", "/dev/stderr": "link /proc/self/fd/2",
		"/etc": "dir 755", "/etc/hostname": "file 644", "/run/systemd/journal": "dir 755", "/tmp": "dir 1777",
	})
}

// TestPodForged: an image with something else at /proc, /sys or /dev is
// refused, and nothing is made where a link leads.
func TestPodForged(t *testing.T) {
	outside := tree(t, "a/b")
	before := list(t, outside)
	for _, name := range []string{"proc", "sys", "dev"} {
		for _, what := range []string{name, name + " -> /tmp", name + " -> " + outside + "/a", name + " -> ../../../../../.." + outside, name + " -> nowhere", name + " -> " + name} {
			root := tree(t, "tmp/", what)
			a := do(t, order{Root: root, API: api(t)})
			if want := (&NotDirError{Path: "/" + name}).Error(); a.Error != want {
				t.Errorf("%s: %q, want %q", what, a.Error, want)
			}
			if after := list(t, filepath.Join(root, "tmp")); strings.Contains(after, "\n") {
				t.Errorf("%s: %s", what, after)
			}
		}
	}
	if after := list(t, outside); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// TestPodLinks: links elsewhere are followed inside the root.
func TestPodLinks(t *testing.T) {
	outside := tree(t, "etc/hosts", "run/", "null")
	before := list(t, outside)
	root := tree(t, "etc -> "+outside+"/etc", outside[1:]+"/etc/", "run -> /var/run", "var/run -> ../over", "over/", "dev/null -> "+outside+"/null", "dev/zero -> loop",
		"dev/loop -> loop", "dev/shm -> "+outside+"/run", "dev/pts -> /dev/shm", "dev/ptmx -> "+outside+"/null", "dev/log -> "+outside+"/log", "dev/random")
	expect(t, order{Root: root, API: api(t)}, map[string]string{
		"/etc": "link " + outside + "/etc", outside + "/etc/hostname": "file 644", "/over/systemd/journal": "dir 755",
		"/dev/null": "char 1:3", "/dev/zero": "char 1:5", "/dev/random": "char 1:8", "/dev/loop": "link loop", "/dev/ptmx": "link /dev/pts/ptmx", "/dev/log": "link " + outside + "/log",
		"/dev/shm": describe("/dev/shm"), "/dev/pts": describe("/dev/pts"),
	})
	if after := list(t, outside); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	a := do(t, order{Root: tree(t, "dev/tty/"), API: api(t)})
	if !strings.Contains(a.Error, "device /dev/tty: ") {
		t.Errorf("a directory where a device belongs: %q", a.Error)
	}
}

func host(source, target string, readOnly bool) appmount.Mount {
	return appmount.Mount{Kind: appmount.Host, Volume: "v", Source: source, Target: target, ReadOnly: readOnly, Recursive: true}
}

// TestPodVolumesStay: what is in a volume is not rkt's to change.
func TestPodVolumesStay(t *testing.T) {
	for _, tt := range []struct {
		target string
		ro     bool
		want   map[string]string
	}{
		{"/etc", true, map[string]string{"/etc/null": "file 644 ro", "/etc/hostname": "no such file or directory"}},
		{"/etc", false, map[string]string{"/etc/null": "file 644", "/etc/hostname": "file 644"}},
		{"/dev", true, map[string]string{"/dev/shm": "no such file or directory", "/dev/zero": "no such file or directory", "/dev/null": "char 1:3", "/dev/tty": "link nowhere", "/dev/log": "no such file or directory"}},
		{"/dev", false, map[string]string{"/dev/shm": "no such file or directory", "/dev/zero": "no such file or directory", "/dev/null": "char 1:3", "/dev/tty": "link nowhere", "/dev/log": "no such file or directory"}},
		{"/run", true, map[string]string{"/run/null": "file 644 ro", "/run/systemd": "no such file or directory", "/etc/hostname": "file 644"}},
		{"/tmp", true, map[string]string{"/tmp/null": "file 644 ro"}},
	} {
		t.Run(fmt.Sprintf("%s %v", tt.target, tt.ro), func(t *testing.T) {
			volume := tree(t, "null", "tty -> nowhere")
			before := list(t, volume)
			expect(t, order{Root: tree(t, "bin/"), API: api(t), Plan: appmount.Plan{Mounts: []appmount.Mount{host(volume, tt.target, tt.ro)}}}, tt.want)
			after := list(t, volume)
			if (tt.ro || tt.target == "/dev") && after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
			if !strings.Contains(after, "/tty link nowhere") || !strings.Contains(after, "/null file 644") {
				t.Errorf("something of the volume is gone or changed:\n%s", after)
			}
		})
	}
}

func TestPodSys(t *testing.T) {
	volume := tree(t, "class/", "fs/")
	a := api(t)
	a.KeepSys, a.HiddenPaths, a.ReadOnlyPaths = true, []string{"/sys/fs", "/sys/module"}, []string{"/sys/class"}
	expect(t, order{Root: tree(t, "bin/"), API: a, Plan: appmount.Plan{Mounts: []appmount.Mount{host(volume, "/sys", false)}}}, map[string]string{
		"/sys": "dir 755", "/sys/class": "dir 755 ro", "/sys/fs": "dir 0 ro", "/sys/module": "no such file or directory",
	})
}

func TestPodReadOnly(t *testing.T) {
	volume := tree(t, "f")
	expect(t, order{Root: tree(t, "bin/"), API: api(t), ReadOnly: true, Plan: appmount.Plan{Mounts: []appmount.Mount{host(volume, "/data", false)}}}, map[string]string{
		"/": "dir 755 ro", "/bin": "dir 755 ro", "/tmp": "dir 1777 ro", "/data": "dir 755", "/data/f": "file 644", "/proc": "dir 555 proc",
	})
}

func TestPutErrors(t *testing.T) {
	volume := tree(t, "f")
	for target, want := range map[string]string{
		"/":          `can't mount "` + volume + `": "/" is the root of the app`,
		"/file":      `can't mount because "` + volume + `" is a directory while "/file" is not`,
		"/file/x":    "mount " + volume,
		"/loop":      "mount " + volume,
		"/bin/../..": "is the root of the app",
	} {
		a := do(t, order{Root: tree(t, "bin/", "file", "loop -> loop"), API: api(t), Plan: appmount.Plan{Mounts: []appmount.Mount{host(volume, target, false)}}})
		if !strings.Contains(a.Error, want) {
			t.Errorf("%s: %q, want %q", target, a.Error, want)
		}
	}
	a := do(t, order{Root: tree(t, "bin/"), API: api(t), Plan: appmount.Plan{Mounts: []appmount.Mount{host(volume+"/missing", "/v", false)}}})
	if want := "Failed to stat " + volume + "/missing: No such file or directory"; !strings.Contains(a.Error, want) {
		t.Errorf("%q, want %q", a.Error, want)
	}
	a = do(t, order{Root: tree(t, "bin/"), API: api(t), Plan: appmount.Plan{Mounts: []appmount.Mount{host(volume+"/f", "/bin", false)}}})
	if !strings.Contains(a.Error, "is a directory while") {
		t.Errorf("%q", a.Error)
	}
}

// TestEmptyVolumes: made once, with mode and owner, filled from the image.
func TestEmptyVolumes(t *testing.T) {
	shared := filepath.Join(t.TempDir(), "shared")
	root := tree(t, "data/f", "data/sub/l -> /etc/passwd", "link -> data")
	if err := unix.Chmod(filepath.Join(root, "data"), 0o2750); err != nil {
		t.Fatal(err)
	}
	empty := func(name, target string, copyUp bool) appmount.Mount {
		return appmount.Mount{Kind: appmount.Empty, Volume: "e-" + "x", Source: "", Target: target, Mode: 0o1700, UID: 7, GID: 8, CopyUp: copyUp && name != ""}
	}
	plain, filled := empty("a", "/made", false), empty("b", "/link", true)
	filled.Volume = "filled"
	expect(t, order{Root: root, API: api(t), Shared: shared, Plan: appmount.Plan{Mounts: []appmount.Mount{plain, filled}}}, map[string]string{
		"/made": "dir 700", "/link": "link data", "/data": "dir 2750", "/data/f": "file 644", "/data/sub/l": "link /etc/passwd",
	})
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(shared, "e-x"), &st); err != nil || st.Uid != 7 || st.Gid != 8 {
		t.Errorf("owner %d:%d, %v", st.Uid, st.Gid, err)
	}
	if err := os.WriteFile(filepath.Join(shared, "filled", "f"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	expect(t, order{Root: root, API: api(t), Shared: shared, Plan: appmount.Plan{Mounts: []appmount.Mount{filled}}}, map[string]string{"/data": "dir 2750"})
	if got, err := os.ReadFile(filepath.Join(shared, "filled", "f")); err != nil || string(got) != "changed" {
		t.Errorf("filled a second time: %q, %v", got, err)
	}
}
