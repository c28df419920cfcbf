// SPDX-License-Identifier: Apache-2.0

// Package datadir makes the data directory of rkt where no package has made it.
//
// Its mode is part of the layout (spec packaging 4): set-group-ID makes
// everything that is created below belong to the group rkt, so that its members
// can read the state of pods. It is all that has to be set: directories inherit
// the rest, and the stores give theirs modes of their own.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// Group may read pods and use the image store.
const Group = "rkt"

const mode = 0o750 | fs.ModeSetgid

// Make creates the data directory dir, for the group rkt if there is one, and
// in it the directories sub. One that exists is left as the administrator made
// it. Two processes may make the same directory at once.
func Make(dir string, sub ...string) error {
	return makeFor(lookup, dir, sub...)
}

func makeFor(group func() (int, bool), dir string, sub ...string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := create(dir, group); err != nil {
			return fmt.Errorf("create data directory: %w", err)
		}
	}
	for _, name := range sub {
		if err := os.MkdirAll(filepath.Join(dir, name), mode.Perm()); err != nil {
			return fmt.Errorf("create directory of the data directory: %w", err)
		}
	}
	return nil
}

// create makes the directory under its own name and corrects it then: whoever
// loses the race finds it there. It is nobody else's until it has its group.
func create(dir string, group func() (int, bool)) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(dir, mode.Perm())
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if gid, ok := group(); ok {
		if err := os.Chown(dir, -1, gid); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err // who is not root keeps the group he has
		}
	}
	return os.Chmod(dir, mode)
}

// lookup finds the number of the group.
func lookup() (int, bool) {
	g, err := user.LookupGroup(Group)
	if err != nil {
		return 0, false
	}
	gid, err := strconv.Atoi(g.Gid)
	return gid, err == nil
}
