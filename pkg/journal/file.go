// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/failpoint"
)

const (
	activeName = "rkt.journal"
	newName    = "rkt.journal.tmp" // what readers do not take for a journal

	fileMode = 0o640

	firstSize = 64 << 10 // of a new file
	lastStep  = 1 << 20  // the most that a file grows by at once
	pageSize  = 4096
)

var (
	errFull    = errors.New("journal file is full")
	errDamaged = errors.New("journal file is damaged")
)

// file is an open journal file with what is known of it. The truth about
// counters and ends is here; the file gets copies.
type file struct {
	f    *os.File
	m    []byte // mapping of the largest size; what is not allocated faults
	size uint64 // of the file
	max  uint64
	id   [16]byte

	tail    uint64 // where the next object goes
	objects uint64
	datas   uint64
	arrays  uint64
	depth   uint64 // longest chain of the data hash table
	index   chain  // of all entries

	headSeqnum, headRealtime uint64
	lastRealtime             uint64

	fields     map[string]*field
	fieldEnds  [fieldBuckets]fieldEnd
	fieldDepth uint64
	barrier    atomic.Uint32
	known      map[string]*data // data objects that many entries refer to

	pending [MaxFields]data // of the entry being written
	found   [MaxFields]*data
}

// field is a field object.
type field struct {
	off      uint64
	headData uint64
}

// fieldEnd is the end of a chain of the field hash table.
type fieldEnd struct{ off, depth uint64 }

// newFile makes a journal file below a directory. It appears under its name
// when it is complete.
func newFile(dir *os.File, o *Options, owner *unix.Stat_t, seqnumID *[16]byte) (_ *file, err error) {
	dirfd := int(dir.Fd())
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dirfd, newName, flags, fileMode)
	if errors.Is(err, unix.EEXIST) { // of a writer that died here
		_ = unix.Unlinkat(dirfd, newName, 0)
		fd, err = unix.Openat(dirfd, newName, flags, fileMode)
	}
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: newName, Err: err}
	}
	f := &file{
		f: os.NewFile(uintptr(fd), activeName), max: uint64(o.MaxFileSize), tail: firstTail,
		objects: 2, fields: map[string]*field{}, known: map[string]*data{},
	}
	_, _ = rand.Read(f.id[:]) // never fails
	defer func() {
		if err != nil {
			f.drop()
			_ = unix.Unlinkat(dirfd, newName, 0)
		}
	}()
	gid := owner.Gid
	if o.GID > 0 {
		gid = uint32(o.GID)
	}
	if err := own(f.f, owner.Uid, gid, fileMode); err != nil {
		return nil, err
	}
	if f.m, err = unix.Mmap(fd, 0, int(f.max), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, os.NewSyscallError("map journal file", err)
	}
	if err := f.grow(firstSize); err != nil {
		return nil, err
	}
	if err := guard(func() error { f.format(o, seqnumID); return nil }); err != nil {
		return nil, err
	}
	if err := unix.Renameat(dirfd, newName, dirfd, activeName); err != nil {
		return nil, &os.LinkError{Op: "rename", Old: newName, New: activeName, Err: err}
	}
	return f, failpoint.Hit("journal.created")
}

// own gives a new file mode, owner and group whatever the umask.
func own(f *os.File, uid, gid, mode uint32) error {
	fd := int(f.Fd())
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil && (st.Uid != uid || st.Gid != gid) {
		err = unix.Fchown(fd, int(uid), int(gid))
	}
	if err == nil && st.Mode&0o7777 != mode {
		err = unix.Fchmod(fd, mode)
	}
	if err != nil {
		return &os.PathError{Op: "own", Path: f.Name(), Err: err}
	}
	return nil
}

// format writes header and hash tables.
func (f *file) format(o *Options, seqnumID *[16]byte) {
	copy(f.m, signature)
	binary.LittleEndian.PutUint32(f.m[hIncompatible:], incompatibleKeyedHash)
	f.m[hState] = stateOnline
	copy(f.m[hFileID:], f.id[:])
	copy(f.m[hMachineID:], o.MachineID[:])
	copy(f.m[hTailBootID:], o.BootID[:])
	copy(f.m[hSeqnumID:], seqnumID[:])
	f.put(hHeaderSize, headerSize)
	f.put(hArenaSize, f.size-headerSize)
	f.put(hFieldTable, fieldTable)
	f.put(hFieldTable+8, fieldBuckets*bucketSize)
	f.put(hDataTable, dataTable)
	f.put(hDataTable+8, dataBuckets*bucketSize)
	f.object(fieldTable-objectHeader, typeFieldTable, objectHeader+fieldBuckets*bucketSize)
	f.object(dataTable-objectHeader, typeDataTable, objectHeader+dataBuckets*bucketSize)
	f.put(hTailObject, dataTable-objectHeader)
	f.put(hObjects, f.objects)
}

func (f *file) put(off, v uint64)     { binary.LittleEndian.PutUint64(f.m[off:], v) }
func (f *file) get(off uint64) uint64 { return binary.LittleEndian.Uint64(f.m[off:]) }

func (f *file) object(off uint64, typ byte, size uint64) {
	f.m[off] = typ
	f.put(off+oSize, size)
}

// reserve makes sure that n bytes after the tail can be stored to.
func (f *file) reserve(n uint64) error {
	need := f.tail + n
	if need > f.max {
		return errFull
	}
	if need <= f.size {
		return nil
	}
	want := min(f.max, max(need, f.size+min(f.size, lastStep)))
	want = min(f.max, (want+pageSize-1)&^(pageSize-1))
	err := f.grow(want)
	if errors.Is(err, unix.ENOSPC) { // the last pages of a full disk
		err = f.grow(min(f.max, (need+pageSize-1)&^(pageSize-1)))
	}
	if err != nil {
		return err
	}
	f.put(hArenaSize, f.size-headerSize)
	return nil
}

// grow allocates the file up to size: a store to a page of a mapping that the
// file system has no room for would be a signal.
func (f *file) grow(size uint64) error {
	fd := int(f.f.Fd())
	var err error
	for {
		err = unix.Fallocate(fd, 0, int64(f.size), int64(size-f.size))
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = f.fill(size)
	}
	if err != nil {
		return fmt.Errorf("allocate journal file: %w", err)
	}
	f.size = size
	return nil
}

// fill is for file systems without fallocate(2).
func (f *file) fill(size uint64) error {
	zeros := make([]byte, min(size-f.size, 64<<10))
	for at := f.size; at < size; {
		n := min(size-at, uint64(len(zeros)))
		if _, err := f.f.WriteAt(zeros[:n], int64(at)); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// finish ends the use of a file: it is cut to what is used, flushed if so
// wished, and marked. Nobody stores to the mapping any more.
func (f *file) finish(state byte, sync bool) error {
	defer f.drop()
	f.unmap()
	end := align8(f.tail)
	var arena [8]byte
	binary.LittleEndian.PutUint64(arena[:], end-headerSize)
	if _, err := f.f.WriteAt(arena[:], hArenaSize); err != nil {
		return err
	}
	if err := f.f.Truncate(int64(end)); err != nil {
		return err
	}
	flush := func() error {
		if !sync {
			return nil
		}
		return os.NewSyscallError("flush journal file", unix.Fdatasync(int(f.f.Fd())))
	}
	if err := flush(); err != nil {
		return err
	}
	if _, err := f.f.WriteAt([]byte{state}, hState); err != nil {
		return err
	}
	return flush()
}

func (f *file) unmap() {
	if f.m != nil {
		_ = unix.Munmap(f.m)
		f.m = nil
	}
}

// drop closes the file as it is.
func (f *file) drop() {
	f.unmap()
	_ = f.f.Close()
}
