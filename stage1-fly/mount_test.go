// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

func (p *testPod) volume(v appc.Volume, target string) {
	p.pod.Volumes = append(p.pod.Volumes, v)
	p.pod.Apps[0].Mounts = append(p.pod.Apps[0].Mounts, appc.Mount{Volume: v.Name, Path: target})
}

func hostVolume(name, source string) appc.Volume {
	return appc.Volume{Name: appc.Name(name), Kind: "host", Source: source}
}

func ptr[T any](v T) *T { return &v }

func TestHostVolume(t *testing.T) {
	p := newPod(t)
	src := t.TempDir()
	p.must(os.WriteFile(filepath.Join(src, "f"), []byte("from the host\n"), 0o644))
	p.volume(hostVolume("v", src), "srv/../data/deep")
	p.exec("cat", "/data/deep/f")
	p.prints(entrypoint.Run{}, "from the host\n")
	p.exec("write", "/data/deep/new")
	p.prints(entrypoint.Run{}, "")
	if data, err := os.ReadFile(filepath.Join(src, "new")); err != nil || string(data) != "written by the app\n" {
		t.Errorf("%q, %v", data, err)
	}
	p.pod.Volumes[0].ReadOnly = ptr(true)
	if r := p.run(entrypoint.Run{}); r.status != 1 || !strings.Contains(r.stderr, "read-only file system") {
		t.Errorf("%+v", r)
	}
	if fi, err := os.Stat(filepath.Join(p.root, "data")); err != nil || fi.Mode() != os.ModeDir|0o755 {
		t.Errorf("%v, %v", fi, err)
	}
}

// mountTmpfs mounts a small file system on the host for the time of the test.
func mountTmpfs(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

func TestRecursion(t *testing.T) {
	p := newPod(t)
	src := t.TempDir()
	sub := filepath.Join(src, "sub")
	p.must(os.Mkdir(sub, 0o755))
	mountTmpfs(t, sub)
	p.must(os.WriteFile(filepath.Join(sub, "f"), []byte("below\n"), 0o644))
	p.volume(hostVolume("v", src), "/data")
	p.exec("ls", "/data/sub")
	p.prints(entrypoint.Run{}, "") // fly's default is not recursive
	p.pod.Volumes[0].Recursive = ptr(true)
	p.prints(entrypoint.Run{}, "f\n")
	p.pod.Volumes[0].ReadOnly = ptr(true)
	p.exec("write", "/data/sub/g")
	if r := p.run(entrypoint.Run{}); r.status != 1 || !strings.Contains(r.stderr, "read-only file system") {
		t.Errorf("the mount below is writable: %+v", r)
	}
	if err := os.WriteFile(filepath.Join(sub, "h"), nil, 0o644); err != nil {
		t.Errorf("the host's mount became read-only: %v", err)
	}
}

func TestFileVolume(t *testing.T) {
	p := newPod(t)
	src := filepath.Join(t.TempDir(), "a, file: with \\ odd\nname")
	p.must(os.WriteFile(src, []byte("content\n"), 0o644))
	p.volume(hostVolume("v", src), "/etc/new/conf,x")
	p.exec("cat", "/etc/new/conf,x")
	p.prints(entrypoint.Run{}, "content\n")
	p.pod.Apps[0].Mounts[0].Path = "/etc"
	p.fails(entrypoint.Run{}, `can't mount because "/etc" is a directory while `)
	p.must(os.WriteFile(filepath.Join(p.root, "etc/file"), nil, 0o644))
	p.pod.Volumes[0].Source = t.TempDir()
	p.pod.Apps[0].Mounts[0].Path = "/etc/file"
	p.fails(entrypoint.Run{}, ` is a directory while "/etc/file" is not`)
}

func TestEmptyVolumes(t *testing.T) {
	p := newPod(t)
	p.volume(appc.Volume{Name: "e", Kind: "empty", Mode: ptr("1770"), UID: ptr(5), GID: ptr(6)}, "/a")
	p.pod.Apps[0].Mounts = append(p.pod.Apps[0].Mounts, appc.Mount{Volume: "e", Path: "/b"})
	p.exec("write", "/a/f")
	p.prints(entrypoint.Run{}, "")
	p.exec("cat", "/b/f")
	p.prints(entrypoint.Run{}, "written by the app\n")
	p.exec("stat", "/b")
	p.prints(entrypoint.Run{}, "41770 5:6\n")
	if fi, err := os.Stat(filepath.Join(p.dir, poddir.SharedVolumes)); err != nil || fi.Mode() != os.ModeDir|0o755 {
		t.Errorf("%v, %v", fi, err)
	}
}

func TestImplicitVolume(t *testing.T) {
	p := newPod(t)
	data := filepath.Join(p.root, "data")
	p.must(os.MkdirAll(filepath.Join(data, "sub"), 0o750))
	p.must(os.Chown(data, 21, 22))
	p.must(os.Chmod(data, os.ModeSetgid|0o711))
	p.must(os.WriteFile(filepath.Join(data, "f"), []byte("from the image\n"), 0o640))
	p.must(os.Symlink("/etc/passwd", filepath.Join(data, "link")))
	p.must(os.Link(filepath.Join(data, "f"), filepath.Join(data, "sub", "hard")))
	p.must(unix.Setxattr(filepath.Join(data, "f"), "user.rkt", []byte("x"), 0))
	p.must(os.Symlink("/data", filepath.Join(p.root, "ln")))
	p.image.App.MountPoints = []appc.MountPoint{{Name: "db", Path: "/ln"}}
	p.exec("ls", "/data")
	const warning = `warning: no volume specified for mount point "db", implicitly creating an "empty" volume. ` +
		"This volume will be removed when the pod is garbage-collected.\n"
	if r := p.run(entrypoint.Run{}); r.status != 0 || r.stdout != "" || r.stderr != warning {
		t.Errorf("%+v", r)
	}
	p.must(os.RemoveAll(filepath.Join(p.dir, poddir.SharedVolumes)))
	p.image.Annotations.Set("appc.io/docker/repository", "library/db")
	const note = "Docker converted image, initializing implicit volume with data contained at the mount point \"/ln\".\n"
	if r := p.run(entrypoint.Run{}); r.status != 0 || r.stdout != "f\nlink\nsub\n" || r.stderr != warning+note {
		t.Errorf("%+v", r)
	}
	vol := filepath.Join(p.dir, poddir.SharedVolumes, "web-db")
	var top, f, hard syscall.Stat_t
	p.must(syscall.Stat(vol, &top))
	p.must(syscall.Stat(filepath.Join(vol, "f"), &f))
	p.must(syscall.Stat(filepath.Join(vol, "sub", "hard"), &hard))
	if top.Mode != syscall.S_IFDIR|0o2711 || top.Uid != 21 || top.Gid != 22 || f.Mode != syscall.S_IFREG|0o640 || f.Ino != hard.Ino {
		t.Errorf("%o %d:%d, %o, %d and %d", top.Mode, top.Uid, top.Gid, f.Mode, f.Ino, hard.Ino)
	}
	if target, err := os.Readlink(filepath.Join(vol, "link")); target != "/etc/passwd" {
		t.Errorf("%q, %v", target, err)
	}
	if n, err := unix.Getxattr(filepath.Join(vol, "f"), "user.rkt", make([]byte, 8)); n != 1 {
		t.Errorf("extended attribute: %v", err)
	}
}

func TestReadOnlyRoot(t *testing.T) {
	p := newPod(t)
	src := t.TempDir()
	p.volume(hostVolume("v", src), "/data")
	p.pod.Apps[0].ReadOnlyRootFS = true
	for _, name := range []string{"/x", "/etc/x", "/bin/probe2"} {
		p.exec("write", name)
		if r := p.run(entrypoint.Run{}); r.status != 1 || !strings.Contains(r.stderr, "read-only file system") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for _, name := range []string{"/data/x", "/tmp/x", "/dev/shm/../null"} {
		p.exec("write", name)
		p.prints(entrypoint.Run{}, "")
	}
	if err := os.WriteFile(filepath.Join(p.root, "y"), nil, 0o644); err != nil {
		t.Errorf("the host's side became read-only: %v", err)
	}
}

func TestAPIFileSystems(t *testing.T) {
	p := newPod(t)
	p.exec("stat", "/tmp")
	p.prints(entrypoint.Run{}, "41777 0:0\n")
	p.exec("stat", "/dev/null")
	p.prints(entrypoint.Run{}, "20666 0:0\n")
	p.exec("cat", "/proc/sys/kernel/hostname")
	name, err := os.Hostname()
	p.must(err)
	p.prints(entrypoint.Run{}, name+"\n")
	p.exec("ls", "/sys")
	if r := p.run(entrypoint.Run{}); !strings.Contains(r.stdout, "kernel\n") {
		t.Errorf("%+v", r)
	}
	// A volume at /sys keeps the host's away.
	p.volume(appc.Volume{Name: "e", Kind: "empty"}, "/sys")
	p.prints(entrypoint.Run{}, "")
}

func TestNames(t *testing.T) {
	p := newPod(t)
	p.exec("cat", "/etc/hosts")
	p.prints(entrypoint.Run{}, "127.0.0.1 localhost localdomain\n")
	p.must(os.WriteFile(filepath.Join(p.root, "etc/hosts"), []byte("the image's\n"), 0o644))
	p.prints(entrypoint.Run{}, "the image's\n")

	generated := filepath.Join(p.dir, poddir.Stage1Rootfs, "etc")
	p.must(os.MkdirAll(generated, 0o755))
	p.must(os.WriteFile(filepath.Join(generated, "rkt-hosts"), []byte("generated\n"), 0o644))
	p.prints(entrypoint.Run{HostsMode: entrypoint.ModeStage0}, "generated\n")
	host, err := os.ReadFile("/etc/hosts")
	p.must(err)
	p.prints(entrypoint.Run{HostsMode: entrypoint.ModeHost}, string(host))
	if data, err := os.ReadFile(filepath.Join(p.root, "etc/hosts")); string(data) != "the image's\n" {
		t.Errorf("the tree of the image was changed: %q, %v", data, err)
	}

	// A dangling link, as resolved leaves it in images.
	p.must(os.Symlink("../run/stub/resolv.conf", filepath.Join(p.root, "etc/resolv.conf")))
	p.exec("cat", "/etc/resolv.conf")
	if r := p.run(entrypoint.Run{ResolvMode: entrypoint.ModeStage0}); r.status != 1 {
		t.Errorf("no file of stage0's: %+v", r)
	}
	p.must(os.WriteFile(filepath.Join(generated, "rkt-resolv.conf"), []byte("nameserver 10.0.0.1\n"), 0o644))
	p.prints(entrypoint.Run{ResolvMode: entrypoint.ModeStage0}, "nameserver 10.0.0.1\n")
	resolv, err := os.ReadFile("/etc/resolv.conf")
	p.must(err)
	p.prints(entrypoint.Run{ResolvMode: entrypoint.ModeHost}, string(resolv))
	p.exec("write", "/etc/resolv.conf")
	if r := p.run(entrypoint.Run{ResolvMode: entrypoint.ModeHost}); r.status != 1 || !strings.Contains(r.stderr, "read-only") {
		t.Errorf("%+v", r)
	}
}

// TestHostileRoot: links in the image that point at the host lead into the
// image; the host's side is not touched.
func TestHostileRoot(t *testing.T) {
	victim := t.TempDir()
	before := func() []string {
		list, err := os.ReadDir(victim)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range list {
			names = append(names, e.Name())
		}
		return names
	}
	for _, place := range []string{"tmp", "proc", "sys", "dev", "etc/hosts", "etc/resolv.conf", "data", "etc/passwd"} {
		for _, target := range []string{victim, "../../../../../../../../../../.." + victim, victim + "/new", "/proc/1/root" + victim} {
			t.Run(place+" to "+strings.ReplaceAll(target, victim, "VICTIM"), func(t *testing.T) {
				p := newPod(t)
				link := filepath.Join(p.root, place)
				p.must(os.RemoveAll(link))
				p.must(os.Symlink(target, link))
				generated := filepath.Join(p.dir, poddir.Stage1Rootfs, "etc")
				p.must(os.MkdirAll(generated, 0o755))
				p.must(os.WriteFile(filepath.Join(generated, "rkt-resolv.conf"), []byte("x\n"), 0o644))
				p.volume(hostVolume("v", t.TempDir()), "/data")
				p.exec("exit", "0")
				r := p.run(entrypoint.Run{ResolvMode: entrypoint.ModeStage0})
				if r.status != 0 && r.status != statusFailed {
					t.Errorf("%+v", r)
				}
				if left := before(); len(left) != 0 {
					t.Errorf("the host was touched: %v, %+v", left, r)
				}
			})
		}
	}
}

// TestHostilePasswd: a passwd that is no file does not stall or mislead.
func TestHostilePasswd(t *testing.T) {
	p := newPod(t)
	p.must(unix.Mkfifo(filepath.Join(p.root, "etc/passwd"), 0o644))
	p.app().User = "www"
	p.fails(entrypoint.Run{}, `"www" user not found`)
	p.app().User = "0"
	p.exec("exit", "0")
	p.prints(entrypoint.Run{}, "")
	p.must(os.Remove(filepath.Join(p.root, "etc/passwd")))
	p.must(os.Symlink("/proc/1/root/etc/passwd", filepath.Join(p.root, "etc/passwd")))
	p.app().User = "daemon"
	p.fails(entrypoint.Run{}, `"daemon" user not found`)
}

// TestInNamespaceOfStage0: stage0 has unshared already; nothing of the pod is
// seen outside, and the host's later mounts are seen inside.
func TestInNamespaceOfStage0(t *testing.T) {
	p := newPod(t)
	p.attr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	p.exec("write", "/tmp/x")
	p.prints(entrypoint.Run{}, "")
}
