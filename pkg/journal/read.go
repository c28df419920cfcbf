// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxReadFiles is how many files of a directory a Reader looks at.
const maxReadFiles = 256

// Line is one entry as a Reader finds it.
type Line struct {
	Time    time.Time
	App     string // SYSLOG_IDENTIFIER
	Message []byte
}

// Reader reads the journal of a pod in order, from where it stopped before. It
// believes nothing of what is in the files: the pod's root can write to them.
// It is not safe for concurrent use.
type Reader struct {
	dir  *os.File
	seen map[[16]byte]uint64 // last sequence number, by the ID of the sequence
	last map[string][hTailEntry]byte
}

// NewReader reads the journal files in dir, which stays owned by the caller.
func NewReader(dir *os.File) *Reader {
	return &Reader{dir: dir, seen: map[[16]byte]uint64{}, last: map[string][hTailEntry]byte{}}
}

// Next calls fn for the entries that were not read before. An error of fn ends
// it and is returned. A damaged file ends where the damage is. It needs no more
// memory than a few windows on one file, whatever the files are.
func (r *Reader) Next(fn func(Line) error) error {
	files, err := r.files()
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := r.file(f, fn); err != nil {
			return err
		}
	}
	return nil
}

// changed is a file with entries that may be new.
type changed struct {
	name     string
	sequence [16]byte
	head     uint64 // time of the first entry
}

// files finds the files that have changed, oldest first.
func (r *Reader) files() ([]changed, error) {
	if _, err := r.dir.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := r.dir.Readdirnames(maxReadFiles * 4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var files []changed
	last := map[string][hTailEntry]byte{}
	for _, name := range names {
		if !strings.HasSuffix(name, ".journal") && !strings.HasSuffix(name, ".journal~") || len(last) >= maxReadFiles {
			continue
		}
		header, err := r.header(name)
		if err != nil {
			continue // rotated away, or no journal
		}
		last[name] = header
		if header == r.last[name] {
			continue
		}
		f := changed{name: name, head: binary.LittleEndian.Uint64(header[hHeadRealtime:])}
		copy(f.sequence[:], header[hSeqnumID:])
		files = append(files, f)
	}
	r.last = last
	slices.SortStableFunc(files, func(a, b changed) int { return cmp.Compare(a.head, b.head) })
	return files, nil
}

// open opens a file if it can be a journal.
func (r *Reader) open(name string) (*os.File, int64, error) {
	fd, err := unix.Openat(int(r.dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	f := os.NewFile(uintptr(fd), name)
	st, err := f.Stat()
	if err == nil && (!st.Mode().IsRegular() || st.Size() < headerSize || st.Size() > MaxFileSize) {
		err = fmt.Errorf("%s: %w", name, errDamaged)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}

func (r *Reader) header(name string) (header [hTailEntry]byte, err error) {
	f, _, err := r.open(name)
	if err != nil {
		return header, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.ReadAt(header[:], 0); err != nil {
		return header, err
	}
	if string(header[:len(signature)]) != signature {
		return header, errDamaged
	}
	// Neither compressed nor compact: those are not our files.
	if binary.LittleEndian.Uint32(header[hIncompatible:])&^incompatibleKeyedHash != 0 {
		return header, fmt.Errorf("journal of an unknown format: %w", errDamaged)
	}
	return header, nil
}

func (r *Reader) file(c changed, fn func(Line) error) error {
	f, size, err := r.open(c.name)
	if err != nil {
		return nil //nolint:nilerr // rotated away
	}
	defer func() { _ = f.Close() }()
	return r.read(&snapshot{windows: windows{f: f, size: uint64(size)}, sequence: c.sequence}, fn)
}

// snapshot is a file as large as it was when it was opened.
type snapshot struct {
	windows
	sequence [16]byte
}

// read passes on the entries of a file that are newer than what was seen.
func (r *Reader) read(s *snapshot, fn func(Line) error) error {
	array, ok := s.u64(hEntryArray)
	for steps := uint64(0); ok && array != 0 && steps < s.size/objectHeader; steps++ {
		size, is := s.object(array, typeEntryArray)
		if !is {
			return nil
		}
		for item := array + aItems; item+arrayItem <= array+size; item += arrayItem {
			at, _ := s.u64(item)
			if at == 0 {
				return nil
			}
			done, err := r.entry(s, at, fn)
			if err != nil || done {
				return err
			}
		}
		next, _ := s.u64(array + aNext)
		if next != 0 && next <= array { // arrays are appended: no loops
			return nil
		}
		array = next
	}
	return nil
}

// entry passes on one entry; done says that the file makes no sense from here.
func (r *Reader) entry(s *snapshot, at uint64, fn func(Line) error) (done bool, err error) {
	size, is := s.object(at, typeEntry)
	if !is || size < eItems {
		return true, nil
	}
	seqnum, _ := s.u64(at + eSeqnum)
	if seqnum <= r.seen[s.sequence] {
		return false, nil
	}
	micros, _ := s.u64(at + eRealtime)
	if micros > 1<<62/1000 { // beyond what a time can be
		return true, nil
	}
	line := Line{Time: time.UnixMicro(int64(micros))}
	for item, n := at+eItems, 0; item+entryItem <= at+size && n < MaxFields; item, n = item+entryItem, n+1 {
		d, _ := s.u64(item)
		dsize, is := s.object(d, typeData)
		if !is || dsize < dPayload {
			return true, nil
		}
		if !s.field(&line, d+dPayload, dsize-dPayload) {
			return true, nil
		}
	}
	r.seen[s.sequence] = seqnum
	return false, fn(line)
}

// field takes over what is of interest; false if it is damaged.
func (s *snapshot) field(line *Line, at, size uint64) bool {
	const message, app = "MESSAGE=", "SYSLOG_IDENTIFIER="
	start, ok := s.bytes(at, min(size, uint64(len(app))))
	switch {
	case !ok:
		return false
	case bytes.HasPrefix(start, []byte(message)):
		if size > uint64(len(message)+MaxFieldValue) {
			return false
		}
		var v []byte
		if v, ok = s.bytes(at, size); ok {
			line.Message = bytes.Clone(v[len(message):])
		}
	case string(start) == app && size <= uint64(len(app)+255):
		var v []byte
		if v, ok = s.bytes(at, size); ok {
			line.App = string(v[len(app):])
		}
	}
	return ok
}

// object returns the size of an object if it is one of the type and all of it
// is there.
func (s *snapshot) object(at uint64, typ byte) (size uint64, ok bool) {
	if at < headerSize || at%8 != 0 {
		return 0, false
	}
	head, ok := s.bytes(at, objectHeader)
	if !ok || head[0] != typ {
		return 0, false
	}
	size = binary.LittleEndian.Uint64(head[oSize:])
	return size, size >= objectHeader && size <= s.size-at
}
