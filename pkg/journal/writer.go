// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/idmap"
)

// Sizes used when Options names none. One file of the default size has room
// for about 8,000 short lines, the total for about 130,000. The file that is
// written is mapped, so that its size also is what a busy log takes of memory.
const (
	DefaultMaxFileSize  = 4 << 20
	DefaultMaxTotalSize = 64 << 20

	// MinFileSize and MaxFileSize bound what Options may ask for.
	MinFileSize = 1 << 20
	MaxFileSize = 64 << 20
)

// Options of a Writer.
type Options struct {
	MachineID [16]byte // of the pod
	BootID    [16]byte // of the kernel, as the pod sees it; readers skip entries without one
	// MaxFileSize is when a file is rotated, MaxTotalSize what all files of
	// the writer may have together (at least two files). 0 is the default.
	MaxFileSize, MaxTotalSize int64
	// GID is the group of the files, which have mode 0640; 0 or less is the
	// group of the directory. The owner is always that of the directory.
	GID int
	// NoSync leaves it to the kernel when data reaches the disk, at Close too.
	NoSync bool
}

// withDefaults fills in what is not given and checks the rest.
func (o Options) withDefaults() (Options, error) {
	if o.MachineID == [16]byte{} || o.BootID == [16]byte{} {
		return o, errors.New("journal without machine ID or boot ID")
	}
	if o.MaxFileSize == 0 {
		o.MaxFileSize = DefaultMaxFileSize
	}
	if o.MaxTotalSize == 0 {
		o.MaxTotalSize = DefaultMaxTotalSize
	}
	if o.MaxFileSize < MinFileSize || o.MaxFileSize > MaxFileSize {
		return o, fmt.Errorf("size of a journal file: %d is not within %d and %d", o.MaxFileSize, MinFileSize, MaxFileSize)
	}
	o.MaxFileSize = o.MaxFileSize &^ (pageSize - 1)
	o.MaxTotalSize = max(o.MaxTotalSize, 2*o.MaxFileSize)
	return o, nil
}

// Writer writes one stream of entries. It is safe for concurrent use.
type Writer struct {
	mu       sync.Mutex
	dir      *os.File
	o        Options
	owner    unix.Stat_t // of the directory
	seqnumID [16]byte
	seqnum   uint64
	clock    clock
	file     *file // nil: the next entry makes one
	closed   bool

	payloads [MaxFields][]byte
	buf      []byte

	flushing sync.WaitGroup
	flushed  struct { // what became of rotated files
		sync.Mutex
		err error
	}
}

// clock converts times with Go's monotonic reading to CLOCK_MONOTONIC.
type clock struct {
	now  time.Time
	usec int64
	last uint64 // monotonic time of the last entry
}

// Create starts a writer in a directory, which has to exist and is usually
// called as the machine ID. The file of a writer that died is moved aside.
func Create(dir string, o Options) (*Writer, error) {
	d, err := openDir(unix.AT_FDCWD, dir)
	if err != nil {
		return nil, err
	}
	w, err := newWriter(d, o)
	if err != nil {
		return nil, err
	}
	if err := w.newFile(); err != nil {
		_ = w.dir.Close()
		return nil, err
	}
	return w, nil
}

// asOwner changes a directory as its owner: in an idmapped mount of a pod with
// a user namespace the host's root cannot.
func asOwner(dir *unix.Stat_t, do func() error) error {
	if int(dir.Uid) == os.Geteuid() {
		return do()
	}
	return idmap.WithRoot(dir.Uid, do)
}

func (w *Writer) newFile() error {
	err := asOwner(&w.owner, func() error {
		f, err := newFile(w.dir, &w.o, &w.owner, &w.seqnumID)
		if err == nil {
			w.file = f
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("make journal file: %w", err)
	}
	return nil
}

// newWriter takes over the directory and makes no file yet.
func newWriter(dir *os.File, o Options) (_ *Writer, err error) {
	defer func() {
		if err != nil {
			_ = dir.Close()
		}
	}()
	w := &Writer{dir: dir}
	if w.o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	if err := unix.Fstat(int(dir.Fd()), &w.owner); err != nil {
		return nil, &os.PathError{Op: "stat", Path: dir.Name(), Err: err}
	}
	_, _ = rand.Read(w.seqnumID[:]) // never fails
	if w.clock, err = newClock(); err != nil {
		return nil, err
	}
	if err := asOwner(&w.owner, func() error { return moveAside(dir, w.clock.now) }); err != nil {
		return nil, err
	}
	w.vacuum()
	return w, nil
}

func newClock() (clock, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return clock{}, os.NewSyscallError("clock_gettime", err)
	}
	return clock{now: time.Now(), usec: ts.Nano() / 1000}, nil
}

// monotonic returns the monotonic time of t, or of the last entry if that is
// later: the format asks for an order that callers with several goroutines
// cannot keep.
func (c *clock) monotonic(t time.Time) uint64 {
	return uint64(max(0, c.usec+t.Sub(c.now).Microseconds()))
}

// Write appends an entry. After an error nothing of the entry is in the file,
// and the writer can still be used.
func (w *Writer) Write(e Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = w.buf[:0]
	for i := range e.Fields {
		w.buf = append(append(append(w.buf, e.Fields[i].Name...), '='), e.Fields[i].Value...)
	}
	rest := w.buf
	for i := range e.Fields {
		n := len(e.Fields[i].Name) + 1 + len(e.Fields[i].Value)
		w.payloads[i], rest = rest[:n:n], rest[n:]
	}
	return w.write(e.Realtime, e.Monotonic, nil, w.payloads[:len(e.Fields)])
}

// stepBack is how much earlier than the one before an entry may be and only
// gets the later time: callers read the clock before they wait for each other.
const stepBack = time.Second / time.Microsecond

// write appends an entry to the file, or to a new one if it does not fit. The
// caller holds the lock.
func (w *Writer) write(t time.Time, monotonic uint64, s *set, payloads [][]byte) error {
	if w.closed {
		return ErrClosed
	}
	if monotonic == 0 {
		monotonic = w.clock.monotonic(t)
	}
	r := record{
		seqnum: w.seqnum + 1, realtime: uint64(max(0, t.UnixMicro())), monotonic: max(monotonic, w.clock.last),
		boot: w.o.BootID, set: s, payloads: payloads,
	}
	if f := w.file; f != nil && r.realtime < f.lastRealtime {
		if f.lastRealtime-r.realtime > uint64(stepBack) {
			// The clock was set back. In one file readers search by time.
			if err := asOwner(&w.owner, w.rotate); err != nil {
				return err
			}
		} else {
			r.realtime = f.lastRealtime
		}
	}
	if err := w.append(&r); err != nil {
		return err
	}
	w.seqnum, w.clock.last = r.seqnum, r.monotonic
	return nil
}

// append tries again in a new file when the present one cannot take the entry.
// A new one has room for any entry.
func (w *Writer) append(r *record) error {
	for range 3 {
		if w.file == nil {
			if err := w.newFile(); err != nil {
				return err
			}
		}
		err := w.file.append(r)
		switch {
		case errors.Is(err, errFull) && w.file.headSeqnum != 0:
			err = asOwner(&w.owner, w.rotate)
		case errors.Is(err, errFull), errors.Is(err, errDamaged):
			err = asOwner(&w.owner, w.abandon)
		default:
			return err
		}
		if err != nil {
			return err
		}
	}
	return errDamaged
}

// Close marks the file as complete, flushes it and waits for the flushing of
// rotated files. Closing twice is harmless.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	var err error
	if w.file != nil {
		err = w.file.finish(stateOffline, !w.o.NoSync)
		w.file = nil
	}
	w.flushing.Wait()
	return errors.Join(err, w.flushed.err, w.dir.Close())
}
