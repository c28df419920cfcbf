// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/inroot"
)

// scratch is a file of the image that is there only while a command runs.
type scratch struct {
	Path string `json:"path"` // resolved, without links
	// Content of a file; absent for a directory. What the command has changed
	// is the image's and stays.
	Content *string `json:"content,omitempty"`
	// Link: it may also have become a link into usr, as systemd-nspawn makes them.
	Link bool `json:"link,omitempty"`
}

// maxResolvConf is how much of the host's resolv.conf is lent.
const maxResolvConf = 1 << 20

// hostResolvConf is the content of the host's resolv.conf, nil without one.
func hostResolvConf() (*string, error) {
	root, err := inroot.Open("/")
	if err != nil {
		return nil, err
	}
	data, err := root.ReadFile("/etc/resolv.conf", maxResolvConf)
	err = errors.Join(err, root.Close())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text := string(data)
	return &text, nil
}

// planScratch says what a command needs in the root file system that is not
// there: directories, parents first, and the names of the host's name servers.
func planScratch(root *inroot.Root, dirs, links []string) ([]scratch, error) {
	var plan []scratch
	seen := map[string]bool{}
	addDir := func(dir string) error {
		resolved, err := root.Resolve(dir)
		if err != nil {
			return err
		}
		missing, err := missingDirs(root, resolved)
		for _, name := range missing {
			if !seen[name] {
				plan = append(plan, scratch{Path: name})
			}
			seen[name] = true
		}
		return err
	}
	for _, dir := range dirs {
		if err := addDir(dir); err != nil {
			return nil, err
		}
	}
	for _, name := range links {
		if _, err := root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			plan = append(plan, scratch{Path: name, Link: true})
		}
	}
	content, err := hostResolvConf()
	if err != nil || content == nil {
		return plan, err
	}
	resolved, err := root.Resolve("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	if _, err := root.Lstat(resolved); !errors.Is(err, fs.ErrNotExist) {
		return plan, err
	}
	if err := addDir(path.Dir(resolved)); err != nil {
		return nil, err
	}
	return append(plan, scratch{Path: resolved, Content: content}), nil
}

// missingDirs are those of dir and its parents that are not there, outermost first.
func missingDirs(root *inroot.Root, dir string) ([]string, error) {
	if dir == "/" {
		return nil, nil
	}
	_, err := root.Lstat(dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	missing, err := missingDirs(root, path.Dir(dir))
	return append(missing, dir), err
}

// putScratch writes the plan down and then carries it out.
func (b *build) putScratch(root *inroot.Root, plan []scratch) error {
	data, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteNoSync(b.path(scratchFile), data, 0o600); err != nil {
		return err
	}
	return makeScratch(root, plan)
}

func makeScratch(root *inroot.Root, plan []scratch) error {
	for _, s := range plan {
		switch {
		case s.Link:
		case s.Content != nil:
			if err := root.WriteNew(s.Path, []byte(*s.Content), 0o644); err != nil {
				return err
			}
		default:
			f, err := root.MkdirAll(s.Path)
			if err != nil {
				return err
			}
			_ = f.Close() // an O_PATH descriptor
		}
	}
	return nil
}

// removeScratch takes away what putScratch has put into the image, and returns
// how much that was.
func (b *build) removeScratch() (int, error) {
	data, err := os.ReadFile(b.path(scratchFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var plan []scratch
	if err := json.Unmarshal(data, &plan); err != nil {
		return 0, fmt.Errorf("%s: %w", b.path(scratchFile), err)
	}
	root, err := inroot.Open(b.rootfs())
	if err != nil {
		return 0, err
	}
	n := 0
	for i := len(plan) - 1; i >= 0; i-- {
		removed, rerr := plan[i].remove(root)
		err = errors.Join(err, rerr)
		if removed {
			n++
		}
	}
	if err := errors.Join(err, root.Close()); err != nil {
		return n, err
	}
	return n, os.Remove(b.path(scratchFile))
}

// remove unlinks one scratch file, unless something else is there by now.
func (s scratch) remove(root *inroot.Root) (bool, error) {
	dir, base := path.Split(s.Path)
	parent, err := root.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = parent.Close() }()
	flags := unix.AT_REMOVEDIR
	switch {
	case s.Content != nil:
		if same, err := s.unchanged(root); !same {
			return false, err
		}
		flags = 0
	case s.Link && isLinkToUsr(parent, base):
		flags = 0
	}
	err = unix.Unlinkat(int(parent.Fd()), base, flags)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTDIR):
		return false, nil
	}
	return false, &fs.PathError{Op: "remove", Path: s.Path, Err: err}
}

func (s scratch) unchanged(root *inroot.Root) (bool, error) {
	st, err := root.Lstat(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, err
	}
	data, err := root.ReadFile(s.Path, maxResolvConf)
	if errors.Is(err, inroot.ErrTooLarge) {
		return false, nil
	}
	return string(data) == *s.Content, err
}

func isLinkToUsr(parent *os.File, base string) bool {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(parent.Fd()), base, buf)
	return err == nil && strings.HasPrefix(strings.TrimPrefix(string(buf[:n]), "/"), "usr/")
}
