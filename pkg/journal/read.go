// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
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
	Message []byte // valid until the callback returns
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
// it and is returned. A damaged file ends where the damage is.
func (r *Reader) Next(fn func(Line) error) error {
	files, err := r.files()
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := r.read(f, fn); err != nil {
			return err
		}
	}
	return nil
}

// snapshot is the content of a journal file.
type snapshot struct {
	m        []byte
	sequence [16]byte
	head     uint64 // time of the first entry
}

// files reads the files that have changed, oldest first.
func (r *Reader) files() ([]*snapshot, error) {
	if _, err := r.dir.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := r.dir.Readdirnames(maxReadFiles * 4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var files []*snapshot
	last := map[string][hTailEntry]byte{}
	for _, name := range names {
		if !strings.HasSuffix(name, ".journal") && !strings.HasSuffix(name, ".journal~") || len(last) >= maxReadFiles {
			continue
		}
		s, header, err := r.open(name)
		if err != nil {
			continue // rotated away, or no journal
		}
		last[name] = header
		if s != nil {
			files = append(files, s)
		}
	}
	r.last = last
	sortSnapshots(files)
	return files, nil
}

func sortSnapshots(files []*snapshot) {
	for i := 1; i < len(files); i++ {
		for j := i; j > 0 && files[j].head < files[j-1].head; j-- {
			files[j], files[j-1] = files[j-1], files[j]
		}
	}
}

// open reads a file unless its header is what it was.
func (r *Reader) open(name string) (*snapshot, [hTailEntry]byte, error) {
	var header [hTailEntry]byte
	fd, err := unix.Openat(int(r.dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, header, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, header, err
	}
	if !st.Mode().IsRegular() || st.Size() < headerSize || st.Size() > MaxFileSize {
		return nil, header, fmt.Errorf("%s: %w", name, errDamaged)
	}
	if _, err := f.ReadAt(header[:], 0); err != nil {
		return nil, header, err
	}
	if header == r.last[name] {
		return nil, header, nil
	}
	m := make([]byte, st.Size())
	n, err := f.ReadAt(m, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, header, err
	}
	s, err := newSnapshot(m[:n])
	return s, header, err
}

func newSnapshot(m []byte) (*snapshot, error) {
	if len(m) < headerSize || string(m[:len(signature)]) != signature {
		return nil, errDamaged
	}
	s := &snapshot{m: m, head: binary.LittleEndian.Uint64(m[hHeadRealtime:])}
	copy(s.sequence[:], m[hSeqnumID:])
	// Neither compressed nor compact: those are not our files.
	if binary.LittleEndian.Uint32(m[hIncompatible:])&^incompatibleKeyedHash != 0 {
		return nil, fmt.Errorf("journal of an unknown format: %w", errDamaged)
	}
	return s, nil
}

// read passes on the entries of a file that are newer than what was seen.
func (r *Reader) read(s *snapshot, fn func(Line) error) error {
	array, ok := s.u64(hEntryArray)
	for steps := 0; ok && array != 0 && steps < len(s.m)/objectHeader; steps++ {
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
		payload := s.m[d+dPayload : d+dsize]
		if v, ok := bytes.CutPrefix(payload, []byte("MESSAGE=")); ok {
			line.Message = v
		} else if v, ok := bytes.CutPrefix(payload, []byte("SYSLOG_IDENTIFIER=")); ok && len(v) <= 255 {
			line.App = string(v)
		}
	}
	r.seen[s.sequence] = seqnum
	if len(line.Message) > MaxFieldValue {
		return true, nil
	}
	return false, fn(line)
}

func (s *snapshot) u64(at uint64) (uint64, bool) {
	if at > uint64(len(s.m)) || uint64(len(s.m))-at < 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(s.m[at:]), true
}

// object returns the size of an object if it is one of the type and all of it
// is there.
func (s *snapshot) object(at uint64, typ byte) (size uint64, ok bool) {
	size, ok = s.u64(at + oSize)
	if at < headerSize || at%8 != 0 || !ok || s.m[at] != typ || size < objectHeader {
		return 0, false
	}
	return size, size <= uint64(len(s.m))-at
}
