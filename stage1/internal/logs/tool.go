// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/inroot"
)

// Places in a stage1 image that has a user space.
const (
	journalctlPath = "/usr/bin/journalctl"
	linkerPath     = "/usr/lib/rkt/ld.so" // a link to the dynamic linker
)

// libraryDirs are where the libraries of the image are.
func libraryDirs() []string { return []string{"/usr/lib", "/usr/lib/systemd"} }

// Descriptors of a journalctl that is started. The paths of the pod and of the
// image may change while it runs.
const (
	dirFD  = "/proc/self/fd/3"
	rootFD = "/proc/self/fd/4"
)

// tool is a journalctl that can be run.
type tool struct {
	argv []string     // what comes before the options
	root *inroot.Root // of the image, nil for the host's
}

func (t *tool) close() {
	if t.root != nil {
		_ = t.root.Close()
	}
}

// findTool looks for journalctl in the image, and on the host if the image has
// none, as that of the flavor host.
func findTool(root string) (*tool, error) {
	if root == "" {
		return hostTool()
	}
	r, err := inroot.Open(root)
	if err != nil {
		return nil, fmt.Errorf("open stage1 image: %w", err)
	}
	argv, err := toolIn(r)
	if err != nil || argv == nil {
		_ = r.Close()
		if err != nil {
			return nil, err
		}
		return hostTool()
	}
	return &tool{argv, r}, nil
}

// toolIn returns nil if the image has no journalctl. Links are followed inside
// the image: exec would follow those that are absolute to the host.
func toolIn(r *inroot.Root) ([]string, error) {
	program, err := existing(r, journalctlPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	linker, err := existing(r, linkerPath)
	if err != nil {
		return nil, err
	}
	libraries := ""
	for i, dir := range libraryDirs() {
		if i > 0 {
			libraries += ":"
		}
		libraries += filepath.Join(rootFD, dir)
	}
	return []string{
		filepath.Join(rootFD, linker), "--inhibit-cache", "--library-path", libraries, "--argv0", "journalctl",
		filepath.Join(rootFD, program),
	}, nil
}

func existing(r *inroot.Root, name string) (string, error) {
	path, err := r.Resolve(name)
	if err == nil {
		_, err = r.Lstat(path)
	}
	if err != nil {
		return "", fmt.Errorf("%s of stage1: %w", name, err)
	}
	return path, nil
}

func hostTool() (*tool, error) {
	path, err := exec.LookPath("journalctl")
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, hint.With(fmt.Errorf("this stage1 uses the host's journalctl: %w", err), "install systemd on this host")
	}
	return &tool{argv: []string{path}}, nil
}

// files are the descriptors of journalctl, from 3 on.
func (t *tool) files(dir *os.File) []*os.File {
	if t.root == nil {
		return []*os.File{dir}
	}
	return []*os.File{dir, t.root.File()}
}
