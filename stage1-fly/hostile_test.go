// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// TestHostDirectories: /dev, /proc and /sys are the host's own; no link of the
// image and no target makes something appear in them.
func TestHostDirectories(t *testing.T) {
	name := "rkt-test-" + filepath.Base(t.TempDir()) + poddir.NewUUID().Short()
	for _, place := range []string{"tmp", "etc", "etc/hosts", "etc/resolv.conf", "data", "proc"} {
		t.Run(place, func(t *testing.T) {
			p := newPod(t)
			link := filepath.Join(p.root, place)
			p.must(os.RemoveAll(link))
			p.must(os.Symlink("/dev/"+name, link))
			generated := filepath.Join(p.dir, poddir.Stage1Rootfs, "etc")
			p.must(os.MkdirAll(generated, 0o755))
			p.must(os.WriteFile(filepath.Join(generated, "rkt-resolv.conf"), []byte("x\n"), 0o644))
			p.volume(hostVolume("v", t.TempDir()), "/data")
			p.exec("exit", "0")
			p.run(entrypoint.Run{ResolvMode: entrypoint.ModeStage0})
			if _, err := os.Lstat("/dev/" + name); err == nil {
				_ = os.RemoveAll("/dev/" + name)
				t.Error("the host's /dev has a new entry")
			}
		})
	}
	p := newPod(t)
	p.volume(hostVolume("v", t.TempDir()), "/dev/"+name)
	p.fails(entrypoint.Run{}, `the fly flavor makes nothing below the host's /dev, /proc and /sys`)
	// What is the app's own may have new entries, below /dev too.
	p.pod.Volumes, p.pod.Apps[0].Mounts = nil, nil
	p.volume(appc.Volume{Name: "d", Kind: appc.EmptyVolume}, "/dev")
	p.volume(hostVolume("v", t.TempDir()), "/dev/"+name)
	p.exec("ls", "/dev")
	p.prints(entrypoint.Run{}, name+"\n")
}

func TestRootAsTarget(t *testing.T) {
	p := newPod(t)
	p.must(os.Symlink("..", filepath.Join(p.root, "up")))
	for _, target := range []string{"/", "/up", "/bin/../up"} {
		p.pod.Volumes, p.pod.Apps[0].Mounts = nil, nil
		p.volume(hostVolume("v", t.TempDir()), target)
		p.fails(entrypoint.Run{}, `is the root of the app`)
	}
}

// TestHostsStaysInImage: a volume at /etc does not get a hosts file.
func TestHostsStaysInImage(t *testing.T) {
	p := newPod(t)
	src := t.TempDir()
	p.volume(hostVolume("v", src), "/etc")
	p.exec("exit", "0")
	p.prints(entrypoint.Run{}, "")
	if left, err := os.ReadDir(src); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestCopyUpOfImageOnly: an implicit volume is filled with what the image has,
// not with what the host or a volume has at that place.
func TestCopyUpOfImageOnly(t *testing.T) {
	p := newPod(t)
	p.image.Annotations.Set("appc.io/docker/repository", "library/db")
	p.must(os.MkdirAll(filepath.Join(p.root, "proc", "of image"), 0o755))
	p.must(os.MkdirAll(filepath.Join(p.root, "data", "sub", "of image"), 0o755))
	src := t.TempDir()
	p.must(os.MkdirAll(filepath.Join(src, "sub", "of host"), 0o755))
	p.volume(hostVolume("v", src), "/data")
	p.image.App.MountPoints = []appc.MountPoint{{Name: "p", Path: "/proc"}, {Name: "d", Path: "/data/sub"}}
	for _, dir := range []string{"/proc", "/data/sub"} {
		p.must(os.RemoveAll(filepath.Join(p.dir, poddir.SharedVolumes)))
		p.app().MountPoints = p.image.App.MountPoints
		p.exec("ls", dir)
		if r := p.run(entrypoint.Run{}); r.stdout != "of image\n" {
			t.Errorf("%s: %+v", dir, r)
		}
	}
}

// TestPasswdOfKernel: reading /proc/kmsg waits, and takes messages away.
func TestPasswdOfKernel(t *testing.T) {
	for _, target := range []string{"/proc/kmsg", "/dev/zero", "/proc/kcore"} {
		p := newPod(t)
		p.must(os.Symlink(target, filepath.Join(p.root, "etc/passwd")))
		p.app().User = "www"
		p.fails(entrypoint.Run{}, `"www" user not found`)
	}
}

func TestNetworks(t *testing.T) {
	p := newPod(t)
	own, err := os.Readlink("/proc/self/ns/net")
	p.must(err)
	for _, list := range []string{"", "default", "host", "default:IP=10.1.1.1"} {
		if r := p.report(entrypoint.Run{Net: list}); r.Namespace["net"] != own {
			t.Errorf("%q: %s", list, r.Namespace["net"])
		}
	}
	if r := p.report(entrypoint.Run{Net: "none"}); r.Namespace["net"] == own || r.Namespace["net"] == "" {
		t.Errorf("--net=none: %s, the host's is %s", r.Namespace["net"], own)
	}
	p.exec("cat", "/proc/self/net/dev")
	if r := p.run(entrypoint.Run{Net: "none"}); strings.Count(r.stdout, ":") != 1 || !strings.Contains(r.stdout, "lo:") {
		t.Errorf("%+v", r)
	}
	p.fails(entrypoint.Run{Net: "default,mine:IP=10.1.1.1"}, `the fly flavor does not support the network "mine"`)
}

func TestStreams(t *testing.T) {
	p := newPod(t)
	set := func(name, value string) { p.pod.Apps[0].Annotations.Set(appc.Identifier(name), value) }
	set(entrypoint.AnnotationStdout, "null")
	if r := p.run(entrypoint.Run{}); r.status != 0 || r.stdout != "" {
		t.Errorf("%+v", r)
	}
	set(entrypoint.AnnotationStderr, "null")
	p.exec("cat", "/missing")
	if r := p.run(entrypoint.Run{}); r.status != 1 || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	p.app().Exec = []string{"/missing"}
	p.fails(entrypoint.Run{}, `Error: Unable to open "/missing"`) // rkt's own words still come
	for _, name := range []string{"stdin", "stdout", "stderr"} {
		for _, mode := range []string{"tty", "stream"} {
			p.pod.Apps[0].Annotations = nil
			set("coreos.com/rkt/stage2/"+name, mode)
			p.fails(entrypoint.Run{}, `the fly flavor does not support the mode "`+mode+`" of `+name)
		}
	}
	p.pod.Apps[0].Annotations = nil
	set(entrypoint.AnnotationStdout, "log")
	p.exec("report")
	if r := p.report(entrypoint.Run{}); !slices.Contains(r.FDs, "1") {
		t.Errorf("%v", r.FDs)
	}
}
