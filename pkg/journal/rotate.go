// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/failpoint"
)

const (
	oldPrefix     = "rkt@"
	archiveSuffix = ".journal"
	asideSuffix   = ".journal~"

	// maxNames limits what is read of a directory that others write to.
	maxNames = 4096
)

// rotate gives the file its archive name and removes old files that are too
// much. The next entry makes a new file. If the file cannot be renamed, it
// stays in use, full.
func (w *Writer) rotate() error {
	f := w.file
	err := rename(w.dir, activeName, archiveName(&w.seqnumID, f.headSeqnum, f.headRealtime))
	if errors.Is(err, unix.EEXIST) { // not by us: sequence numbers do not repeat
		err = moveAside(w.dir, time.Now())
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	w.file = nil
	f.unmap()
	w.flushing.Go(func() {
		// For readers the file is complete already.
		if err := f.finish(stateArchived, !w.o.NoSync); err != nil {
			w.flushed.Lock()
			w.flushed.err = err
			w.flushed.Unlock()
		}
	})
	if err := failpoint.Hit("journal.rotated"); err != nil {
		return err
	}
	w.vacuum()
	return nil
}

// abandon puts away a file that is damaged, as it is.
func (w *Writer) abandon() error {
	w.file.drop()
	w.file = nil
	return moveAside(w.dir, time.Now())
}

// moveAside renames the file that another writer has left.
func moveAside(dir *os.File, now time.Time) error {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	name := fmt.Sprintf("%s%016x-%s%s", oldPrefix, now.UnixMicro(), hex.EncodeToString(b[:]), asideSuffix)
	err := rename(dir, activeName, name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func rename(dir *os.File, from, to string) error {
	fd := int(dir.Fd())
	if err := unix.Renameat2(fd, from, fd, to, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func archiveName(seqnumID *[16]byte, seqnum, realtime uint64) string {
	return fmt.Sprintf("%s%s-%016x-%016x%s", oldPrefix, hex.EncodeToString(seqnumID[:]), seqnum, realtime, archiveSuffix)
}

// oldFile is a file that is not written any more.
type oldFile struct {
	name  string
	own   bool   // of this writer; all others are older
	order uint64 // sequence number if own, else time
	size  int64
}

// parseOld reads a name that archiveName or moveAside has made.
func parseOld(name string, seqnumID *[16]byte) (oldFile, bool) {
	rest, ok := strings.CutPrefix(name, oldPrefix)
	if !ok {
		return oldFile{}, false
	}
	o := oldFile{name: name}
	if aside, ok := strings.CutSuffix(rest, asideSuffix); ok {
		at, _, _ := strings.Cut(aside, "-")
		n, err := strconv.ParseUint(at, 16, 64)
		o.order = n
		return o, err == nil
	}
	rest, ok = strings.CutSuffix(rest, archiveSuffix)
	parts := strings.Split(rest, "-")
	if !ok || len(parts) != 3 {
		return oldFile{}, false
	}
	o.own = parts[0] == hex.EncodeToString(seqnumID[:])
	number := parts[2]
	if o.own {
		number = parts[1]
	}
	n, err := strconv.ParseUint(number, 16, 64)
	o.order = n
	return o, err == nil
}

// vacuum removes the oldest files until the rest and a full new file are
// within the limit. A file that cannot be removed does not keep lines from
// being written.
func (w *Writer) vacuum() {
	olds := w.oldFiles()
	slices.SortFunc(olds, func(a, b oldFile) int {
		switch {
		case a.own != b.own && b.own:
			return -1
		case a.own != b.own:
			return 1
		}
		return cmp.Or(cmp.Compare(a.order, b.order), strings.Compare(a.name, b.name))
	})
	total := w.o.MaxFileSize
	for _, o := range olds {
		total += o.size
	}
	for _, o := range olds {
		if total <= w.o.MaxTotalSize {
			return
		}
		if unix.Unlinkat(int(w.dir.Fd()), o.name, 0) == nil {
			total -= o.size
		}
	}
}

func (w *Writer) oldFiles() []oldFile {
	// A descriptor of its own: duplicates would share the position.
	fd, err := unix.Openat(int(w.dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	dir := os.NewFile(uintptr(fd), w.dir.Name())
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(maxNames)
	var olds []oldFile
	for _, name := range names {
		o, ok := parseOld(name, &w.seqnumID)
		var st unix.Stat_t
		if !ok || unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		o.size = st.Size
		olds = append(olds, o)
	}
	return olds
}
