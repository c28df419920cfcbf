// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"modernc.org/ql"

	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/lock"
)

// indexFile is the database; packaging may create it empty (images.md 11.3).
const indexFile = "ql.db"

// schemaVersion is ours. rkt 1 ended with 7.
const (
	schemaVersion = 8
	lastRkt1      = 7
)

// index is the QL database. Every transaction opens it, under an exclusive
// flock on its directory: ql's own lock unlinks its file before closing it, and
// so lets two writers in.
type index struct {
	alias atomic.Pointer[string] // another name of dir, if one is needed

	dir string
	log *slog.Logger
	// contents gives what the index is rebuilt from.
	contents func(context.Context) (*contents, error)
	// takeOver imports the tables of rkt 1 before the index is rebuilt.
	takeOver func(context.Context, *oldTables) error
}

// contents is everything the index says.
type contents struct {
	images  []imageRow
	remotes []remoteRow
}

// brokenError is an error of the database itself, as opposed to one of the
// disk or of the caller: the remedy is to rebuild.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// NewerError is returned for an index written by a later release.
type NewerError struct{ Version int64 }

func (e *NewerError) Error() string {
	return fmt.Sprintf("current store db version: %d (greater than the current rkt expected version: %d)", e.Version, schemaVersion)
}

// outdatedError is returned for the index of a rkt 1.
type outdatedError struct{ version int64 }

func (e *outdatedError) Error() string { return fmt.Sprintf("store db version %d", e.version) }

// view runs fn with the index open for reading.
func (x *index) view(ctx context.Context, fn func(*tx) error) error {
	return x.locked(ctx, func() error { return x.once(false, fn) })
}

// update runs fn in one transaction, which is on disk when update returns nil.
func (x *index) update(ctx context.Context, fn func(*tx) error) error {
	return x.locked(ctx, func() error { return x.once(true, fn) })
}

// locked holds the lock around run and repairs the index, once, if that says
// it is broken.
func (x *index) locked(ctx context.Context, run func() error) error {
	if err := makeDir(x.dir); err != nil {
		return err
	}
	l, err := lock.Take(ctx, x.dir, lock.Exclusive)
	if err != nil {
		return fmt.Errorf("lock image index: %w", err)
	}
	defer func() { _ = l.Close() }()
	if err := x.present(); errors.Is(err, fs.ErrNotExist) {
		if err := x.rebuild(ctx); err != nil {
			return fmt.Errorf("build image index: %w", err)
		}
	} else if err != nil {
		return err
	}
	err = run()
	var outdated *outdatedError
	var broken *brokenError
	switch {
	case errors.As(err, &outdated):
		err = x.migrate(ctx, outdated.version)
	case errors.As(err, &broken):
		x.log.Warn("the image index is damaged and is rebuilt from the image records", "path", x.path(), "error", err)
		if err = errors.Join(x.otherName(), x.moveAside()); err == nil {
			err = x.rebuild(ctx)
		}
	default:
		return err
	}
	if err != nil {
		return fmt.Errorf("rebuild image index: %w", err)
	}
	return run()
}

// otherName makes later opens use another name of the directory. When opening
// fails half-way, ql keeps its note that the process has the file locked, by
// the file's path, and would refuse to open it a second time.
func (x *index) otherName() error {
	fd, err := unix.Open(x.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: x.dir, Err: err}
	}
	name := fmt.Sprintf("/proc/self/fd/%d", fd) // open for as long as the process
	x.alias.Store(&name)
	return nil
}

// openPath is the path to open the database by.
func (x *index) openPath() string {
	if dir := x.alias.Load(); dir != nil {
		return filepath.Join(*dir, indexFile)
	}
	return x.path()
}

func (x *index) path() string { return filepath.Join(x.dir, indexFile) }

// present returns fs.ErrNotExist unless there is an index with something in it.
func (x *index) present() error {
	st, err := os.Stat(x.path())
	if err != nil {
		return err
	}
	if st.Size() == 0 {
		return fs.ErrNotExist
	}
	return nil
}

// once opens the index, runs fn and closes it. ql panics on some damage.
func (x *index) once(write bool, fn func(*tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &brokenError{fmt.Errorf("panic in the database: %v", p)}
		}
	}()
	db, err := x.open()
	if err != nil {
		return err
	}
	defer func() {
		if cerr := db.Close(); cerr != nil && err == nil {
			err = classify(cerr)
		}
		x.shareFiles()
	}()
	if err := checkVersion(db); err != nil {
		return err
	}
	return transact(db, write, fn)
}

// transact runs fn between BEGIN and COMMIT; readers need neither.
func transact(db *ql.DB, write bool, fn func(*tx) error) error {
	t := &tx{db: db}
	if !write {
		return fn(t)
	}
	t.ctx = ql.NewRWCtx()
	if err := t.run("BEGIN TRANSACTION;"); err != nil {
		return err
	}
	if err := fn(t); err != nil {
		_ = t.run("ROLLBACK;")
		return err
	}
	return t.run("COMMIT;")
}

// open opens the database file. A journal that was torn while it was written
// belongs to a transaction that never was: it is moved aside.
func (x *index) open() (*ql.DB, error) {
	if err := x.prepareFiles(); err != nil {
		return nil, err
	}
	db, err := openQL(x.openPath(), false)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		wal := ql.WalName(x.path())
		aside := wal + ".torn"
		x.log.Warn("moved the torn journal of the image index aside", "path", aside)
		if err := os.Rename(wal, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		db, err = openQL(x.openPath(), false)
	}
	if err != nil {
		return nil, classify(err)
	}
	return db, nil
}

func openQL(path string, create bool) (db *ql.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &brokenError{fmt.Errorf("panic in the database: %v", p)}
		}
	}()
	return ql.OpenFile(path, &ql.Options{CanCreate: create, FileFormat: 1, RemoveEmptyWAL: true})
}

// classify makes a brokenError of every error that does not come from the
// machine: a full disk or a missing permission is no reason to rebuild.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if isMachineError(err) {
		return err
	}
	return &brokenError{err}
}

// isMachineError tells errors of the machine or of a cancelled caller from
// errors of the data: nothing is to be thrown away because of them.
func isMachineError(err error) bool {
	return slices.ContainsFunc([]error{
		unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EROFS, unix.EACCES, unix.EPERM, unix.EINTR,
		unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EFBIG, context.Canceled, context.DeadlineExceeded,
	}, func(e error) bool { return errors.Is(err, e) })
}

// hiddenHex matches what ql creates beside the database: journal and lock file.
var hiddenHex = regexp.MustCompile(`^\.[0-9a-f]{40}$`)

// prepareFiles makes sure that other members of the group can use the files ql
// creates, and removes ql's lock file if a killed process left it: we hold the
// lock that counts.
func (x *index) prepareFiles() error {
	names, err := readNames(x.dir)
	if err != nil {
		return err
	}
	wal := filepath.Base(ql.WalName(x.path()))
	haveWAL := false
	for _, name := range names {
		switch {
		case name == wal:
			haveWAL = true
		case hiddenHex.MatchString(name):
			if err := os.Remove(filepath.Join(x.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if haveWAL {
		return nil
	}
	f, err := os.OpenFile(ql.WalName(x.path()), os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(fileMode), f.Close())
}

// shareFiles gives the database the mode of images.md 15, if it is ours.
func (x *index) shareFiles() {
	if st, err := os.Stat(x.path()); err == nil && st.Mode().Perm() != fileMode {
		_ = os.Chmod(x.path(), fileMode) // another user's file: that user does it
	}
}

// checkVersion reads the one row of the table version.
func checkVersion(db *ql.DB) error {
	t := &tx{db: db}
	rows, err := t.query("SELECT version FROM version")
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return &brokenError{fmt.Errorf("table version has %d rows", len(rows))}
	}
	v, ok := rows[0][0].(int64)
	switch {
	case !ok || v < 0:
		return &brokenError{fmt.Errorf("bad version %v", rows[0][0])}
	case v > schemaVersion:
		return &NewerError{Version: v}
	case v <= lastRkt1:
		return &outdatedError{version: v}
	}
	return nil
}

// buildDir is where a new index is made before it is renamed into place.
const buildDir = "build"

// rebuild makes the index from the records. The caller holds the lock; what
// was there is moved aside already, or never existed.
func (x *index) rebuild(ctx context.Context) error {
	c, err := x.contents(ctx)
	if err != nil {
		return err
	}
	dir := filepath.Join(x.dir, buildDir)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := makeDir(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, indexFile)
	if err := x.create(path, c); err != nil {
		return err
	}
	// A journal left beside the old file must not be applied to the new one.
	if err := os.Remove(ql.WalName(x.path())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := syncFile(path); err != nil {
		return err
	}
	if err := renameInto(path, x.path()); err != nil {
		return err
	}
	if err := failpoint.Hit("fetch.index-rebuilt"); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// replace makes the index anew whatever state it is in.
func (x *index) replace(ctx context.Context) error {
	return x.locked(ctx, func() error { return x.rebuild(ctx) })
}

func (x *index) create(path string, c *contents) (err error) {
	db, err := openQL(path, true)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := db.Close(); err == nil {
			err = cerr
		}
	}()
	if err := os.Chmod(path, fileMode); err != nil {
		return err
	}
	return transact(db, true, func(t *tx) error {
		if err := t.run(schema, int64(schemaVersion)); err != nil {
			return err
		}
		for i := range c.images {
			if err := t.insertImage(&c.images[i]); err != nil {
				return err
			}
		}
		for i := range c.remotes {
			if err := t.insertRemote(&c.remotes[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// keepBroken is how many unusable databases are kept for whoever wants to know.
const keepBroken = 3

// moveAside moves the database and its journal to broken-0, older ones one up.
func (x *index) moveAside() error {
	if err := x.rotate("broken-", x.dir, keepBroken); err != nil {
		return err
	}
	dir := filepath.Join(x.dir, "broken-0")
	if err := makeDir(dir); err != nil {
		return err
	}
	for _, from := range []string{ql.WalName(x.path()), x.path()} {
		err := os.Rename(from, filepath.Join(dir, filepath.Base(from)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return failpoint.Hit("fetch.index-aside")
}

// rotate frees <prefix>0 in dir by renaming it and its successors one up; the
// one beyond keep goes.
func (x *index) rotate(prefix, dir string, keep int) error {
	name := func(n int) string { return filepath.Join(dir, fmt.Sprintf("%s%d", prefix, n)) }
	if err := os.RemoveAll(name(keep - 1)); err != nil {
		return err
	}
	for n := keep - 2; n >= 0; n-- {
		if err := os.Rename(name(n), name(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
