// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

const uuid = "3fd26bb6-44ac-4cd1-9a1e-6d9dcbe2d7a7"

// healthy is a made-up host on which everything is right.
func healthy(t *testing.T) *Host {
	t.Helper()
	h := &Host{
		Root: t.TempDir(), DataDir: "/var/lib/rkt", Config: "/etc/rkt", Now: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC),
		Release: func() (string, error) { return "6.12.0-1-amd64", nil },
		Statfs: func(string) (unix.Statfs_t, error) {
			return unix.Statfs_t{Type: unix.EXT4_SUPER_MAGIC, Bsize: 4096, Bavail: 1 << 20, Files: 1 << 20, Ffree: 1 << 19}, nil
		},
		Output: func(_ context.Context, _ string, _ ...string) (string, error) {
			return "systemd 257 (257.1)\n+PAM", nil
		},
		Cgroups: func() (Cgroups, error) {
			return Cgroups{"unified", []string{"memory", "cpu", "pids", "io"}, true}, nil
		},
		Openat2: func() error { return nil },
		Idmap:   func(string) error { return nil },
		Synced:  func() (bool, error) { return true, nil },
		Running: func(string) bool { return false },
	}
	for path, text := range map[string]string{
		"proc/self/ns/mnt": "", "proc/self/ns/uts": "", "proc/self/ns/ipc": "", "proc/self/ns/pid": "", "proc/self/ns/net": "",
		"proc/self/ns/cgroup": "", "proc/self/ns/user": "", "proc/sys/user/max_user_namespaces": "15000\n",
		"proc/filesystems": "nodev\tproc\nnodev\toverlay\n\text4\n", "proc/sys/kernel/seccomp/actions_avail": "kill errno\n",
		"proc/self/mountinfo":                    "1 2 0:1 / /proc rw - proc proc rw\n",
		"proc/sys/fs/inotify/max_user_instances": "8192\n",
		"proc/sys/net/ipv4/ip_forward":           "1\n",
		"run/systemd/system/x":                   "",
		"usr/lib/systemd/systemd-machined":       "",
		"usr/bin/systemd-nspawn":                 "",
		"etc/group":                              "root:x:0:\nbroken\nrkt:x:101:me\nrkt-admin:x:102:\n",
	} {
		h.put(t, path, text)
	}
	return h
}

func (h *Host) put(t *testing.T, path, text string) {
	t.Helper()
	full := h.path(path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (h *Host) remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(h.path(path)); err != nil {
		t.Fatal(err)
	}
}

func TestHealthy(t *testing.T) {
	results := Examine(t.Context(), healthy(t), Probes())
	if len(results) != len(Probes()) || Worst(results) != OK {
		t.Errorf("%+v", results)
	}
}

// TestVerdicts breaks one thing at a time.
func TestVerdicts(t *testing.T) {
	release := func(s string) func(*testing.T, *Host) {
		return func(_ *testing.T, h *Host) { h.Release = func() (string, error) { return s, nil } }
	}
	file := func(path, text string) func(*testing.T, *Host) {
		return func(t *testing.T, h *Host) { h.put(t, path, text) }
	}
	without := func(path string) func(*testing.T, *Host) {
		return func(t *testing.T, h *Host) { h.remove(t, path) }
	}
	statfs := func(change func(*unix.Statfs_t)) func(*testing.T, *Host) {
		return func(_ *testing.T, h *Host) {
			st, _ := h.Statfs("")
			change(&st)
			h.Statfs = func(string) (unix.Statfs_t, error) { return st, nil }
		}
	}
	cgroups := func(c Cgroups) func(*testing.T, *Host) {
		return func(_ *testing.T, h *Host) { h.Cgroups = func() (Cgroups, error) { return c, nil } }
	}
	says := func(s string) func(*testing.T, *Host) {
		return func(_ *testing.T, h *Host) {
			h.Output = func(context.Context, string, ...string) (string, error) { return s, nil }
		}
	}
	for _, tt := range []struct {
		probe   string
		spoil   func(*testing.T, *Host)
		verdict Verdict
		found   string
	}{
		{"kernel", release("3.16.0"), Fail, "3.16.0"},
		{"kernel", release("4.19.0-x"), Warn, "4.19"},
		{"kernel", release("nonsense"), Warn, "no version"},
		{"namespaces", without("proc/self/ns/net"), Fail, "net"},
		{"namespaces", without("proc/self/ns/cgroup"), Warn, "cgroup"},
		{"user namespaces", without("proc/self/ns/user"), Warn, "not in the kernel"},
		{"user namespaces", file("proc/sys/user/max_user_namespaces", "0\n"), Warn, "switched off"},
		{"overlay", file("proc/filesystems", "nodev\tproc\n"), Warn, "module"},
		{"overlay", release("5.15.1"), Warn, "not with idmapped"},
		{"seccomp", without("proc/sys/kernel/seccomp"), Fail, "no filters"},
		{"openat2", func(_ *testing.T, h *Host) { h.Openat2 = func() error { return unix.ENOSYS } }, Warn, "not in the kernel"},
		{"openat2", func(_ *testing.T, h *Host) { h.Openat2 = func() error { return unix.EPERM } }, Warn, "refused"},
		{"idmapped mounts", func(_ *testing.T, h *Host) { h.Idmap = func(string) error { return unix.EINVAL } }, Warn, "invalid argument"},
		{"idmapped mounts", func(_ *testing.T, h *Host) { h.EUID = 1000 }, Warn, "not seen"},
		{"cgroups", cgroups(Cgroups{Layout: "unified"}), Fail, "no controllers"},
		{"cgroups", cgroups(Cgroups{"unified", []string{"memory", "cpu", "pids"}, true}), Warn, "memory, cpu, pids"},
		{"cgroups", cgroups(Cgroups{"unified", []string{"memory", "cpu", "pids", "io"}, false}), Warn, "cgroup.kill"},
		{"systemd", without("usr/lib/systemd/systemd-machined"), Warn, "without machined"},
		{"systemd", without("run/systemd"), OK, "not PID 1"},
		{"systemd-nspawn", without("usr/bin/systemd-nspawn"), OK, "not installed"},
		{"systemd-nspawn", says("systemd 219\n"), Warn, "systemd 219"},
		{"systemd-nspawn", says("systemd 257~rc1\n"), Warn, "not seen"},
		{"systemd-nspawn", says("?"), Warn, "not seen"},
		{"groups", file("etc/group", "rkt:x:101:\n"), Warn, "missing: rkt-admin"},
		{"file system", statfs(func(s *unix.Statfs_t) { s.Type = unix.OVERLAYFS_SUPER_MAGIC }), Warn, "no overlay on overlay"},
		{"file system", statfs(func(s *unix.Statfs_t) { s.Type = unix.TMPFS_MAGIC }), Warn, "tmpfs"},
		{"file system", statfs(func(s *unix.Statfs_t) { s.Type = unix.NFS_SUPER_MAGIC }), Fail, "nfs"},
		{"file system", statfs(func(s *unix.Statfs_t) { s.Type = 1 }), Warn, "unknown type"},
		{"file system", statfs(func(s *unix.Statfs_t) { s.Flags = unix.ST_RDONLY }), Fail, "read-only"},
		{"file system", statfs(func(s *unix.Statfs_t) { s.Flags = unix.ST_NOEXEC }), Fail, "noexec"},
		{"file system", statfs(func(s *unix.Statfs_t) { s.Flags = unix.ST_NOSUID }), Warn, "nosuid"},
		{"disk space", statfs(func(s *unix.Statfs_t) { s.Bavail = 100 }), Fail, "0 MiB"},
		{"disk space", statfs(func(s *unix.Statfs_t) { s.Bavail = 1 << 17 }), Warn, "512 MiB"},
		{"disk space", statfs(func(s *unix.Statfs_t) { s.Ffree = 7 }), Warn, "only 7 files"},
		{"inotify", file("proc/sys/fs/inotify/max_user_instances", "128\n"), Warn, "42 pods"},
		{"inotify", file("proc/sys/fs/inotify/max_user_instances", "x"), Warn, "not seen"},
		{"forwarding", file("proc/sys/net/ipv4/ip_forward", "0\n"), OK, "off"},
		{"clock", func(_ *testing.T, h *Host) { h.Now = time.Unix(0, 0) }, Fail, "1970"},
		{"clock", func(_ *testing.T, h *Host) { h.Synced = func() (bool, error) { return false, nil } }, Warn, "not synchronized"},
		{"leftovers", file("proc/self/mountinfo", "9 2 0:1 / /var/lib/rkt/pods/run/"+uuid+"/stage1 rw - overlay o rw\n"), Warn, "mounts of 1 pod"},
		{"leftovers", file("var/lib/rkt/net/pods/"+uuid, "{}"), Warn, "networks of 1 pod"},
	} {
		h := healthy(t)
		tt.spoil(t, h)
		for _, r := range Examine(t.Context(), h, Probes()) {
			if r.Name != tt.probe {
				continue
			}
			if r.Verdict != tt.verdict || !strings.Contains(r.Found, tt.found) {
				t.Errorf("%s, want %s %q: %+v", tt.probe, tt.verdict, tt.found, r)
			}
			if r.Verdict == Fail && r.Todo == "" {
				t.Errorf("nothing to do: %+v", r)
			}
		}
	}
}

func TestRunningPodIsNoLeftover(t *testing.T) {
	h := healthy(t)
	h.Running = func(id string) bool { return id == uuid }
	h.put(t, "proc/self/mountinfo", "9 2 0:1 / /var/lib/rkt/pods/run/"+uuid+"/stage1 rw - overlay o rw\n")
	if r := leftovers(t.Context(), h); r.Verdict != OK {
		t.Errorf("%+v", r)
	}
}

// TestModes is about owners, so it takes root.
func TestModes(t *testing.T) {
	testenv.NeedsRoot(t)
	h := healthy(t)
	put := func(path string, gid int, mode fs.FileMode) {
		t.Helper()
		full := h.path(path)
		if err := errors.Join(os.MkdirAll(full, 0o755), os.Chown(full, 0, gid), os.Chmod(full, mode)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(v Verdict, found string) {
		t.Helper()
		if r := modes(t.Context(), h); r.Verdict != v || !strings.Contains(r.Found, found) {
			t.Errorf("want %s %q: %+v", v, found, r)
		}
	}
	want(OK, "no directories yet")
	put("var/lib/rkt", 101, 0o750|setgid)
	put("var/lib/rkt/pods/run", 101, 0o750|setgid)
	put("var/lib/rkt/pods", 101, 0o750|setgid)
	put("etc/rkt", 102, 0o775|setgid)
	want(OK, "as they should be")
	put("var/lib/rkt/pods", 0, 0o755)
	want(Warn, "mode 0755, not 02750")
	put("var/lib/rkt/pods", 0, 0o750|setgid)
	want(Warn, "group 0, not rkt")
	put("etc/rkt", 100, 0o775|setgid)
	want(Fail, "can be written by group 100, which is not rkt-admin")
	put("etc/rkt", 102, 0o777)
	want(Fail, "everybody can write")
	put("etc/rkt", 102, 0o775|setgid)
	if err := os.Chown(h.path("var/lib/rkt"), 1000, 101); err != nil {
		t.Fatal(err)
	}
	want(Fail, "belongs to user 1000")
}

// TestTimeout: a probe that hangs holds up nothing.
func TestTimeout(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	r := Examine(ctx, healthy(t), []Probe{{"slow", func(context.Context, *Host) Result { <-stop; return Good("late") }}})
	if r[0].Verdict != Warn || r[0].Name != "slow" {
		t.Errorf("%+v", r)
	}
}

// TestReal: the machine of the test has answers to everything.
func TestReal(t *testing.T) {
	for _, r := range Examine(t.Context(), Real(t.TempDir(), "/etc/rkt"), Probes()) {
		if r.Found == "" || r.Verdict == "" {
			t.Errorf("%+v", r)
		}
		t.Logf("%s: %s: %s", r.Name, r.Verdict, r.Found)
	}
}
