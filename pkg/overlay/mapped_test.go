// SPDX-License-Identifier: Apache-2.0

package overlay

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/idmap"
	"github.com/rkt/rkt/v2/pkg/testenv"
)

const (
	shift = 0x00100000
	count = 1 << 16
	// foreign is an owner that the pod's user namespace does not have.
	foreign = count + 5
)

// roleEnv makes the test binary play a part: "host" mounts, in a mount
// namespace of its own, and starts "pod", which is root of a user namespace
// and has the mounted tree as descriptor 3, and that starts "user", who is not.
// "suid" and "caps" are programs in the tree.
const roleEnv = "RKT_OVERLAY_TEST_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch role := os.Getenv(roleEnv); role {
	case "":
		os.Exit(m.Run())
	case "host":
		err = hostRole(os.Args[1])
	case "pod":
		err = podRole()
	case "program":
		err = programRole()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// tree is where the pod's processes see the overlay.
const tree = "/proc/self/fd/3/"

func needsMapped(t *testing.T, dir string) {
	t.Helper()
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
	if err := idmap.Supported(dir); err != nil {
		t.Skip(err)
	}
}

// layers makes two lower directories, an upper and a work one.
func layers(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), `od:d,na\me`)
	needsMapped(t, filepath.Dir(dir))
	for _, d := range []string{"low0", "low1/dir", "low1/gone", "pod/upper/app", "pod/work/app", "target"} {
		mkdir(t, filepath.Join(dir, d))
	}
	write := func(name string, uid int, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(name), 0o644), os.Chown(path, uid, uid), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write("low0/top", 0, 0o644)
	write("low1/user", 1000, 0o600)
	write("low1/change", 0, 0o644)
	write("low1/dir/hidden", 0, 0o644)
	write("low1/foreign", foreign, 0o666)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"suid": 0o755 | os.ModeSetuid, "caps": 0o755} {
		path := filepath.Join(dir, "low1", name)
		if err := errors.Join(os.WriteFile(path, self, 0o755), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setxattr(filepath.Join(dir, "low1/caps"), "security.capability", fileCaps(unix.CAP_NET_RAW), 0); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fileCaps is struct vfs_cap_data of version 2: permitted and effective.
func fileCaps(n int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x02000000|1)
	b = binary.LittleEndian.AppendUint32(b, 1<<n)
	return append(b, make([]byte, 12)...)
}

func TestMapped(t *testing.T) {
	dir := layers(t)
	before := owners(t, dir, "low0", "low1")
	cmd := exec.Command("/proc/self/exe", dir)
	cmd.Env = append(os.Environ(), roleEnv+"=host")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := cmp.Diff(before, owners(t, dir, "low0", "low1")); diff != "" {
		t.Errorf("the layers have changed (-want +got):\n%s", diff)
	}
	want := map[string]string{
		"pod/upper/app": "0:0", "pod/upper/app/new": "0:0", "pod/upper/app/given": "1000:100", "pod/upper/app/change": "0:0",
		"pod/upper/app/user": "1000:1000", "pod/upper/app/moved": "0:0", "pod/upper/app/by-suid": "0:1000", "pod/upper/app/by-host": "0:0",
		"pod/upper/app/dir": "0:0", "pod/upper/app/dir/fresh": "0:0", "pod/upper/app/gone": "0:0", "pod/upper/app/top": "0:0",
		"pod/upper/app/link": "0:0",
	}
	if diff := cmp.Diff(want, owners(t, dir, "pod/upper/app")); diff != "" {
		t.Errorf("upper directory (-want +got):\n%s", diff)
	}
}

func owners(t *testing.T, dir string, names ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, _ os.DirEntry, err error) error {
			rel, _ := filepath.Rel(dir, path)
			all[rel] = owner(path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func owner(path string) string {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

func hostRole(dir string) error {
	runtime.LockOSThread()
	if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		return err
	}
	ns, err := idmap.NewUserNS(shift, count)
	if err != nil {
		return err
	}
	m := Mount{
		Lowers: []string{dir + "/low0", dir + "/low1"}, Upper: dir + "/pod/upper/app", Work: dir + "/pod/work/app",
		Target: dir + "/target", UserNS: ns,
	}
	if err := idmap.WithRoot(shift, m.Do); err != nil {
		return err
	}
	if err := ns.Close(); err != nil {
		return err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if n := strings.Count(string(mounts), "/target"); n != 1 {
		return fmt.Errorf("%d mounts at the target", n)
	}
	at := m.Target + "/"
	for name, want := range map[string]string{
		"top": ids(0), "user": ids(1000), "suid": ids(0), "foreign": "65534:65534", ".": ids(0),
	} {
		if got := owner(at + name); got != want {
			return fmt.Errorf("%s belongs to %s, want %s", name, got, want)
		}
	}
	if err := os.WriteFile(at+"by-host-itself", nil, 0o644); !errors.Is(err, unix.EOVERFLOW) {
		return fmt.Errorf("a file of the host's root: %w", err)
	}
	err = idmap.WithRoot(shift, func() error { return os.WriteFile(at+"by-host", nil, 0o644) })
	if err != nil {
		return err
	}
	root, err := os.Open(m.Target)
	if err != nil {
		return err
	}
	pod := exec.Command("/proc/self/exe")
	pod.Env = append(os.Environ(), roleEnv+"=pod")
	pod.ExtraFiles = []*os.File{root}
	pod.Stdout, pod.Stderr = os.Stdout, os.Stderr
	all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: shift, Size: count}}
	pod.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{}, Pdeathsig: syscall.SIGKILL,
	}
	if err := pod.Run(); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	for name, want := range map[string]string{"new": ids(0), "given": fmt.Sprintf("%d:%d", shift+1000, shift+100)} {
		if got := owner(at + name); got != want {
			return fmt.Errorf("%s belongs to %s, want %s", name, got, want)
		}
	}
	return nil
}

func ids(n int) string { return fmt.Sprintf("%d:%[1]d", shift+n) }

// podRole is what root of the pod can do and what not.
func podRole() error {
	for name, want := range map[string]string{"top": "0:0", "user": "1000:1000", "suid": "0:0", "foreign": "65534:65534"} {
		if got := owner(tree + name); got != want {
			return fmt.Errorf("in the pod %s belongs to %s, want %s", name, got, want)
		}
	}
	err := errors.Join(
		os.WriteFile(tree+"new", nil, 0o644),
		os.WriteFile(tree+"given", nil, 0o644),
		os.Chown(tree+"given", 1000, 100),
		appendTo(tree+"change"),                    // copies it up
		os.Chmod(tree+"user", 0o640),               // also of somebody else
		os.Rename(tree+"new", tree+"moved"),        // in the upper layer
		os.WriteFile(tree+"new", nil, 0o644),       //
		os.RemoveAll(tree+"dir"),                   // leaves a whiteout
		os.Mkdir(tree+"dir", 0o755),                // opaque
		os.WriteFile(tree+"dir/fresh", nil, 0o644), //
		os.Remove(tree+"gone"),
		os.Symlink("new", tree+"link"),
		os.Chtimes(tree+"top", time.Unix(1, 0), time.Unix(1, 0)),
	)
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(tree + "dir"); err != nil || len(entries) != 1 {
		return fmt.Errorf("the old content of a directory is back: %v, %w", entries, err)
	}
	for what, err := range map[string]error{
		"chown to an ID that is none":   expect(os.Chown(tree+"given", foreign, 0), unix.EINVAL),
		"chown of a file of nobody":     expect(os.Chown(tree+"foreign", 0, 0), unix.EPERM),
		"chmod of a file of nobody":     expect(os.Chmod(tree+"foreign", 0o777), unix.EOVERFLOW),
		"write to a file of nobody":     expect(appendTo(tree+"foreign"), unix.EACCES),
		"removal of a file of nobody":   expect(os.Remove(tree+"foreign"), unix.EOVERFLOW),
		"a device":                      expect(unix.Mknod(tree+"node", unix.S_IFBLK|0o600, int(unix.Mkdev(8, 0))), unix.EPERM),
		"an attribute of overlay":       expect(unix.Setxattr(tree+"new", "trusted.overlay.opaque", []byte("y"), 0), unix.EPERM),
		"a file of the host, by number": expect(os.WriteFile("/etc/rkt-overlay-test", nil, 0o644), unix.EACCES),
	} {
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	suid, err := run(tree + "suid")
	if err != nil {
		return err
	}
	if suid.EUID != 0 || suid.UID != 1000 || suid.Shadow == "" || suid.Wrote != "" {
		return fmt.Errorf("set-user-ID program: %+v", suid)
	}
	caps, err := run(tree + "caps")
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%016x", 1<<unix.CAP_NET_RAW); caps.EUID != 1000 || caps.CapEff != want {
		return fmt.Errorf("program with capabilities: %+v", caps)
	}
	return nil
}

func expect(err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("error %w, want %w", err, want)
	}
	return nil
}

func appendTo(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, "x")
	return errors.Join(err, f.Close())
}

// report is what a program in the tree finds out about itself.
type report struct {
	UID, EUID int
	CapEff    string
	Shadow    string // error of reading a file of the host's root
	Wrote     string // error of writing a file into the tree
}

// run starts a program of the tree as user 1000 of the pod.
func run(path string) (*report, error) {
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), roleEnv+"=program")
	root, err := os.Open(tree)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	cmd.ExtraFiles = []*os.File{root}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var r report
	return &r, json.Unmarshal(out, &r)
}

func programRole() error {
	r := report{UID: os.Getuid(), EUID: os.Geteuid()}
	if _, err := os.ReadFile("/etc/shadow"); err != nil {
		r.Shadow = err.Error()
	}
	if r.EUID == 0 {
		if err := os.WriteFile(tree+"by-suid", nil, 0o644); err != nil {
			r.Wrote = err.Error()
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, after, _ := bytes.Cut(status, []byte("CapEff:\t"))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	r.CapEff = string(line)
	return json.NewEncoder(os.Stdout).Encode(r)
}

func TestCommonDir(t *testing.T) {
	for _, tt := range [][3]string{
		{"/p/o/upper", "/p/o/work", "/p/o"},
		{"/p/o/upper/app", "/p/o/work/app", "/p/o"},
		{"/upper", "/work", "/"},
		{"/a/b", "/a/bc/d", "/a"},
	} {
		if got := commonDir(tt[0], tt[1]); got != tt[2] {
			t.Errorf("commonDir(%s, %s) = %s, want %s", tt[0], tt[1], got, tt[2])
		}
	}
}

func TestCheckMapped(t *testing.T) {
	for _, m := range []Mount{
		{UserNS: os.Stdin, Lowers: []string{"low"}, Upper: "/u", Work: "/w"},
		{UserNS: os.Stdin, Lowers: []string{"/low"}, Upper: "/x/../u", Work: "/w"},
		{UserNS: os.Stdin, Lowers: []string{"/low"}, Upper: "/u", Work: "w"},
	} {
		if err := m.check(); err == nil {
			t.Errorf("%+v is taken", m)
		}
	}
}
