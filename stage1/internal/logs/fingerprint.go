// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// offsetEntries is where the header of a journal file has the number of
	// its entries.
	offsetEntries = 152
	// maxFiles limits how many files of the directory are looked at.
	maxFiles = 4096
)

// fingerprint is a text that changes whenever entries are added: the names of
// the journal files and how many entries those have that are still written.
func (v *viewer) fingerprint() (string, error) {
	if err := v.open(); err != nil || v.dir == nil {
		return "", err
	}
	if _, err := v.dir.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	names, err := v.dir.Readdirnames(maxFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		if !strings.HasSuffix(name, ".journal") && !strings.HasSuffix(name, ".journal~") {
			continue
		}
		n := uint64(0)
		if !strings.Contains(name, "@") { // an archive does not change
			n = entriesIn(v.dir, name)
		}
		fmt.Fprintf(&b, "%s %d\n", name, n)
	}
	return b.String(), nil
}

// entriesIn returns 0 for what is not a journal file: journalctl will tell.
func entriesIn(dir *os.File, name string) uint64 {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Close(fd) }()
	var b [8]byte
	if n, err := unix.Pread(fd, b[:], offsetEntries); err != nil || n != len(b) {
		return 0
	}
	return binary.LittleEndian.Uint64(b[:])
}
