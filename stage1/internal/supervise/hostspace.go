// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/userspace"
)

// showHost gives the pod of stage1-host the systemd of the host: each program
// and library is shown read-only where stage1-coreos has its own.
func (p *pod) showHost() error {
	if p.flavor != "host" {
		return nil
	}
	programs := slices.DeleteFunc(userspace.Programs(), func(q userspace.Program) bool { return q.Path == userspace.Nspawn })
	files, err := userspace.Find("/", programs)
	if err != nil {
		return fmt.Errorf("stage1-host needs systemd of the host: %w", err)
	}
	finder, err := userspace.Finder(runtime.GOARCH)
	if err != nil {
		return err
	}
	libs, err := finder.Find(slices.Sorted(maps.Values(files))...)
	if err != nil {
		return fmt.Errorf("stage1-host needs systemd of the host: %w", err)
	}
	linker, err := filepath.EvalSymlinks(libs.Interpreter)
	if err != nil {
		return fmt.Errorf("dynamic linker of the host: %w", err)
	}
	files[userspace.InTree(libs.Interpreter)] = linker
	for soname, file := range libs.Libraries {
		files[path.Join(userspace.LibraryDir, soname)] = file
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := p.show(files[name], name); err != nil {
			return err
		}
	}
	return nil
}

// show binds a file of the host read-only into stage1's tree.
func (p *pod) show(source, name string) error {
	if err := p.s1.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("make %s in stage1: %w", path.Dir(name), err)
	}
	f, err := p.s1.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make %s in stage1: %w", name, err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return &os.PathError{Op: "show the pod", Path: source, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	at, err := p.s1.Open(name)
	if err != nil {
		return fmt.Errorf("open %s in stage1: %w", name, err)
	}
	defer func() { _ = at.Close() }()
	err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err == nil {
		err = unix.MoveMount(fd, "", int(at.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	}
	if err != nil {
		return &os.PathError{Op: "show the pod", Path: source, Err: err}
	}
	return nil
}
