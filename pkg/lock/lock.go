// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked is returned by the Try functions when somebody else holds the lock.
var ErrLocked = errors.New("file already locked")

// Mode says who may hold the lock beside us.
type Mode int

const (
	// Shared locks exclude exclusive ones only.
	Shared Mode = unix.LOCK_SH
	// Exclusive locks exclude all others.
	Exclusive Mode = unix.LOCK_EX
)

// Lock is a held lock, or an open file that can be locked. Close releases it.
type Lock struct{ f *os.File }

// Open opens a directory or an existing regular file without locking it.
func Open(path string) (*Lock, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Lock{f: os.NewFile(uintptr(fd), path)}, nil
}

// FromFD wraps a descriptor that was inherited.
func FromFD(fd int, path string) *Lock { return &Lock{f: os.NewFile(uintptr(fd), path)} }

// Take opens path and waits for the lock. It gives up when ctx is done.
func Take(ctx context.Context, path string, m Mode) (*Lock, error) {
	l, err := Open(path)
	if err != nil {
		return nil, err
	}
	if err := l.Wait(ctx, m); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// TryTake opens path and takes the lock at once or returns ErrLocked.
func TryTake(path string, m Mode) (*Lock, error) {
	l, err := Open(path)
	if err != nil {
		return nil, err
	}
	if err := l.Try(m); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// Try converts the lock to m without waiting, or returns ErrLocked.
func (l *Lock) Try(m Mode) error {
	for {
		err := unix.Flock(int(l.f.Fd()), int(m)|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrLocked
		default:
			return fmt.Errorf("lock %s: %w", l.f.Name(), err)
		}
	}
}

// Wait converts the lock to m, waiting for other holders until ctx is done.
// A blocking flock cannot be cancelled in Go, so it polls with a short, growing
// pause; the first attempts are only a millisecond apart.
func (l *Lock) Wait(ctx context.Context, m Mode) error {
	pause := time.Millisecond
	for {
		err := l.Try(m)
		if !errors.Is(err, ErrLocked) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for lock on %s: %w", l.f.Name(), ctx.Err())
		case <-time.After(pause):
		}
		if pause < 50*time.Millisecond {
			pause *= 2
		}
	}
}

// Unlock releases the lock and keeps the file open.
func (l *Lock) Unlock() error { return unix.Flock(int(l.f.Fd()), unix.LOCK_UN) }

// FD is the descriptor; it stays owned by the Lock.
func (l *Lock) FD() int { return int(l.f.Fd()) }

// File is the open file; it stays owned by the Lock.
func (l *Lock) File() *os.File { return l.f }

// Keep lets the lock survive an exec of this process.
func (l *Lock) Keep() error {
	_, err := unix.FcntlInt(l.f.Fd(), unix.F_SETFD, 0)
	return err
}

// Close releases the lock. Closing twice is harmless.
func (l *Lock) Close() error {
	if l == nil || l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

const keyRetries = 3

// Key takes the lock of a key: a file dir/key, created when missing (mode
// 0660), that others may delete. After locking, the file must still be the one
// at its path, otherwise it starts over, at most three times.
func Key(ctx context.Context, dir, key string, m Mode) (*Lock, error) {
	return takeKey(dir, key, func(l *Lock) error { return l.Wait(ctx, m) })
}

// TryKey is Key without waiting: ErrLocked when it is held.
func TryKey(dir, key string, m Mode) (*Lock, error) {
	return takeKey(dir, key, func(l *Lock) error { return l.Try(m) })
}

func takeKey(dir, key string, take func(*Lock) error) (*Lock, error) {
	path := filepath.Join(dir, key)
	for range keyRetries {
		l, err := openKey(path)
		if err != nil {
			return nil, err
		}
		if err := take(l); err != nil {
			_ = l.Close()
			return nil, err
		}
		same, err := l.IsAt(path)
		if err != nil {
			_ = l.Close()
			return nil, err
		}
		if same {
			return l, nil
		}
		_ = l.Close()
	}
	return nil, fmt.Errorf("cannot acquire lock after %d retries", keyRetries)
}

func openKey(path string) (*Lock, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o660)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Lock{f: os.NewFile(uintptr(fd), path)}, nil
}

// IsAt tells whether path still names the file that is held.
func (l *Lock) IsAt(path string) (bool, error) {
	var held, there unix.Stat_t
	if err := unix.Fstat(int(l.f.Fd()), &held); err != nil {
		return false, fmt.Errorf("stat lock %s: %w", l.f.Name(), err)
	}
	err := unix.Lstat(path, &there)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return held.Dev == there.Dev && held.Ino == there.Ino, nil
}
