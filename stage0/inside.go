// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
	"github.com/rkt/rkt/v2/stage0/internal/rootfs"
)

// inside is a running pod as its first process has it: the root of stage1 in
// the pod's own mount namespace, where the apps' trees have to be.
type inside struct {
	pid  int
	root *os.File
	ns   *os.File
}

// openInside opens the inside of a running pod. It fails with pod.ErrNotRunning
// if the pod ends meanwhile.
func openInside(ctx context.Context, p *pod.Pod) (*inside, error) {
	pid, err := p.WaitInitPID(ctx)
	if err != nil {
		return nil, fmt.Errorf("unable to determine the pid for pod %q: %w", p.UUID(), err)
	}
	in := &inside{pid: pid}
	if err := in.open(p); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *inside) open(p *pod.Pod) error {
	// This descriptor is of the process, not of its number.
	proc, err := os.OpenFile("/proc/"+strconv.Itoa(in.pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return notInside(p, err)
	}
	defer func() { _ = proc.Close() }()
	if in.root, err = openAt(proc, "root", unix.O_PATH|unix.O_DIRECTORY); err != nil {
		return notInside(p, err)
	}
	if in.ns, err = openAt(proc, "ns/mnt", unix.O_RDONLY); err != nil {
		return notInside(p, err)
	}
	if err := in.check(p); err != nil {
		return notInside(p, err)
	}
	// The number was the pod's before it was opened, and the pod is there still.
	if err := p.Refresh(); err != nil {
		return err
	}
	if p.State() != pod.Running {
		return fmt.Errorf("pod %s is %w", p.UUID(), pod.ErrNotRunning)
	}
	return nil
}

func openAt(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// notInside explains a failure by the end of the pod, if it ended.
func notInside(p *pod.Pod, err error) error {
	if p.Refresh() == nil && p.State() != pod.Running {
		return fmt.Errorf("pod %s is %w", p.UUID(), pod.ErrNotRunning)
	}
	return fmt.Errorf("enter pod %q: %w", p.UUID(), err)
}

// errForeignRoot is returned for a process that is not in the root of stage1:
// what is meant for the pod would be made on the host.
var errForeignRoot = errors.New("its first process has not the root of stage1")

// check makes sure that the root is the pod's: a copied stage1 is a directory
// of the pod, any other an overlay.
func (in *inside) check(p *pod.Pod) error {
	overlay, err := p.UsesOverlay()
	if err != nil {
		return err
	}
	same, err := in.rootIs("/")
	switch {
	case err != nil:
		return err
	case same:
		return errForeignRoot
	case overlay:
		return in.checkOverlay()
	}
	same, err = in.rootIs(filepath.Join(p.Path(), poddir.Stage1Rootfs))
	if err == nil && !same {
		err = errForeignRoot
	}
	return err
}

func (in *inside) rootIs(path string) (bool, error) {
	var there, here unix.Stat_t
	if err := unix.Stat(path, &there); err != nil {
		return false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := unix.Fstat(int(in.root.Fd()), &here); err != nil {
		return false, &os.PathError{Op: "stat", Path: in.root.Name(), Err: err}
	}
	return here.Dev == there.Dev && here.Ino == there.Ino, nil
}

func (in *inside) checkOverlay() error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(in.root.Fd()), &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: in.root.Name(), Err: err}
	}
	if fs.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return errForeignRoot
	}
	return nil
}

// path names the root of stage1 for this process.
func (in *inside) path() string { return "/proc/self/fd/" + strconv.Itoa(int(in.root.Fd())) }

// attach mounts an app's overlay in the pod.
func (in *inside) attach(s1 *rootfs.Stage1, app string, mount *os.File) error {
	target, err := s1.OpenApp(app)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	return privns.In(in.ns, in.root, func() error { return rootfs.Attach(mount, target) })
}

// clear takes away what is mounted as, and below, the root of an app.
func (in *inside) clear(app string) error {
	return privns.In(in.ns, in.root, func() error { return rootfs.Clear("/" + poddir.AppRootfs(app)) })
}

func (in *inside) close() {
	if in == nil {
		return
	}
	if in.root != nil {
		_ = in.root.Close()
	}
	if in.ns != nil {
		_ = in.ns.Close()
	}
}
