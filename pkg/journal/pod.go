// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Values of the field RKT_STREAM.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Pod is what the entries of a pod have in common.
type Pod struct {
	UUID      string   // RKT_POD_UUID
	MachineID [16]byte // _MACHINE_ID, the bytes of the UUID
	BootID    [16]byte // _BOOT_ID
	Hostname  string   // _HOSTNAME
	// MaxFileSize, MaxTotalSize, GID and NoSync are those of Options.
	MaxFileSize, MaxTotalSize int64
	GID                       int
	NoSync                    bool
}

// PodLog writes the output of a pod's apps. It is safe for concurrent use.
type PodLog struct {
	w      *Writer
	common [][]byte
	sets   map[source]*set
}

// source is where a line comes from.
type source struct {
	app, stream string
	pid         int
}

// maxSets limits what is kept in memory of sources.
const maxSets = 128

// OpenPod starts the log of a pod in DIR/MACHINE-ID, where DIR is
// …/var/log/journal of the pod's stage1, which has to exist. DIR/MACHINE-ID is
// made when missing, with mode 0755 and owner and group of DIR. The journal
// file is made by the first line. Call it before anything runs in the pod.
func OpenPod(dir string, p Pod) (*PodLog, error) {
	machine := hex.EncodeToString(p.MachineID[:])
	sub, err := openSub(dir, machine)
	if err != nil {
		return nil, fmt.Errorf("open journal of pod: %w", err)
	}
	w, err := newWriter(sub, Options{
		MachineID: p.MachineID, BootID: p.BootID,
		MaxFileSize: p.MaxFileSize, MaxTotalSize: p.MaxTotalSize, GID: p.GID, NoSync: p.NoSync,
	})
	if err != nil {
		return nil, fmt.Errorf("open journal of pod: %w", err)
	}
	return &PodLog{
		w:    w,
		sets: map[source]*set{},
		common: [][]byte{
			[]byte("_MACHINE_ID=" + machine),
			[]byte("_BOOT_ID=" + hex.EncodeToString(p.BootID[:])),
			[]byte("_HOSTNAME=" + p.Hostname),
			[]byte("RKT_POD_UUID=" + p.UUID),
		},
	}, nil
}

// openSub opens a directory in dir and makes it if it is not there.
func openSub(dir, name string) (sub *os.File, err error) {
	parent, err := openDir(unix.AT_FDCWD, dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = parent.Close() }()
	var owner unix.Stat_t
	if err := unix.Fstat(int(parent.Fd()), &owner); err != nil {
		return nil, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	err = asOwner(&owner, func() error {
		sub, err = openDir(int(parent.Fd()), name)
		if !errors.Is(err, unix.ENOENT) {
			return err
		}
		if err := unix.Mkdirat(int(parent.Fd()), name, 0o755); err != nil {
			return &os.PathError{Op: "mkdir", Path: name, Err: err}
		}
		if sub, err = openDir(int(parent.Fd()), name); err != nil {
			return err
		}
		return own(sub, owner.Uid, owner.Gid, 0o755)
	})
	if err != nil && sub != nil {
		_ = sub.Close()
	}
	return sub, err
}

func openDir(at int, name string) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Line writes one line of an app: without its line end, any bytes, at most
// MaxFieldValue. t should be what time.Now returned; stream is Stdout or
// Stderr; pid is the process as the pod sees it. An error means that this line
// is not in the journal; later ones may succeed.
func (l *PodLog) Line(app, stream string, pid int, t time.Time, line []byte) error {
	if len(line) > MaxFieldValue {
		return fmt.Errorf("%w: line of app %s has %d bytes", ErrTooLarge, app, len(line))
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.buf = append(append(l.w.buf[:0], "MESSAGE="...), line...)
	l.w.payloads[0] = l.w.buf
	return l.w.write(t, 0, l.set(source{app, stream, pid}), l.w.payloads[:1])
}

// set returns the fields that every line of a source has.
func (l *PodLog) set(s source) *set {
	if known := l.sets[s]; known != nil {
		return known
	}
	if len(l.sets) >= maxSets { // of processes that have ended, mostly
		clear(l.sets)
	}
	made := &set{payloads: append([][]byte{
		[]byte("PRIORITY=6"), // as journald does for both streams
		[]byte("_TRANSPORT=stdout"),
		[]byte("SYSLOG_IDENTIFIER=" + s.app),
		[]byte("_PID=" + strconv.Itoa(s.pid)),
		[]byte("_SYSTEMD_UNIT=" + s.app + ".service"),
		[]byte("RKT_APP=" + s.app),
		[]byte("RKT_STREAM=" + s.stream),
	}, l.common...)}
	l.sets[s] = made
	return made
}

// Write writes an entry of another form, for what rkt itself has to say. The
// fields _MACHINE_ID, _BOOT_ID, _HOSTNAME and RKT_POD_UUID are added.
func (l *PodLog) Write(t time.Time, fields ...Field) error {
	e := Entry{Realtime: t, Fields: fields[:len(fields):len(fields)]}
	for _, payload := range l.common {
		name := fieldName(payload)
		e.Fields = append(e.Fields, Field{Name: string(name), Value: payload[len(name)+1:]})
	}
	return l.w.Write(e)
}

// Close is Writer.Close.
func (l *PodLog) Close() error { return l.w.Close() }
