// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/datadir"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// ErrNotPresent says that a pod is in no state directory (any more).
var ErrNotPresent = errors.New("pod was not present")

// Pod is an open pod. It keeps a descriptor of the pod directory, which also
// carries the pod lock; Close releases both. A Pod is not safe for concurrent use.
type Pod struct {
	uuid    poddir.UUID
	dataDir string
	dir     string     // state directory where it was last seen, "" if gone
	lock    *lock.Lock // the directory, locked or not
	held    bool       // whether we hold the exclusive lock
	state   State
}

// Open finds a pod and derives its state. A pod that is nowhere yields an
// error that is ErrNotPresent.
func Open(ctx context.Context, dataDir string, uuid poddir.UUID) (*Pod, error) {
	return openAmong(ctx, dataDir, poddir.StateDirs(), uuid)
}

type notPresentError struct{ uuid poddir.UUID }

func (e *notPresentError) Error() string { return fmt.Sprintf("pod %q was not present", e.uuid) }

func (e *notPresentError) Is(target error) bool { return target == ErrNotPresent }

func openIn(dataDir, dir string, uuid poddir.UUID) (*Pod, error) {
	l, err := openDir(filepath.Join(dataDir, poddir.Pods, dir, uuid.String()))
	if err != nil {
		return nil, err
	}
	p := &Pod{uuid: uuid, dataDir: dataDir, dir: dir, lock: l}
	if err := p.derive(); err != nil {
		_ = l.Close()
		return nil, err
	}
	return p, nil
}

func openDir(path string) (*lock.Lock, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return lock.FromFD(fd, path), nil
}

// derive sets the state from p.dir and the lock.
func (p *Pod) derive() error {
	locked := p.held
	if !locked && p.dir != poddir.Embryo && p.dir != poddir.Prepared && p.dir != "" {
		switch err := p.lock.Try(lock.Shared); {
		case errors.Is(err, lock.ErrLocked):
			locked = true
		case err != nil:
			return err
		default:
			if err := p.lock.Unlock(); err != nil {
				return fmt.Errorf("unlock pod %s: %w", p.uuid, err)
			}
		}
	}
	p.state = stateOf(p.dir, locked)
	return nil
}

// Refresh derives the state anew. A pod that was deleted meanwhile has the
// state Gone, which is no error.
func (p *Pod) Refresh() error {
	dir, err := p.find()
	if err != nil {
		return err
	}
	p.dir = dir
	return p.derive()
}

// find looks for the directory that is held, starting where it was last seen
// because pods do not move back.
func (p *Pod) find() (string, error) {
	if p.dir == "" {
		return "", nil
	}
	after := false
	for _, dir := range poddir.StateDirs() {
		after = after || dir == p.dir
		if !after {
			continue
		}
		same, err := p.lock.IsAt(p.pathIn(dir))
		if err != nil {
			return "", err
		}
		if same {
			return dir, nil
		}
	}
	return "", nil
}

func (p *Pod) pathIn(dir string) string {
	return filepath.Join(p.dataDir, poddir.Pods, dir, p.uuid.String())
}

// UUID is the pod's UUID.
func (p *Pod) UUID() poddir.UUID { return p.uuid }

// State is the state as of Open, the last Refresh or the last move.
func (p *Pod) State() State { return p.state }

// Dir is the state directory, a name of package poddir; empty if gone.
func (p *Pod) Dir() string { return p.dir }

// DataDir is the data directory the pod lies in.
func (p *Pod) DataDir() string { return p.dataDir }

// Path is where the pod directory is, as far as known. It changes when the pod
// moves; only a holder of the lock can rely on it.
func (p *Pod) Path() string { return p.pathIn(p.dir) }

// FD is the descriptor of the pod directory; it stays owned by the Pod.
func (p *Pod) FD() int { return p.lock.FD() }

// Lock is the pod lock, for those who pass it on across exec; it stays owned
// by the Pod.
func (p *Pod) Lock() *lock.Lock { return p.lock }

// IsLocked tells whether this process holds the exclusive pod lock.
func (p *Pod) IsLocked() bool { return p.held }

// Close closes the pod directory and releases the lock. Closing twice is harmless.
func (p *Pod) Close() error {
	if p == nil {
		return nil
	}
	p.held = false
	return p.lock.Close()
}

// EnsureDirs creates the state directories that are missing.
func EnsureDirs(dataDir string) error {
	for _, dir := range poddir.StateDirs() {
		path := filepath.Join(poddir.Pods, dir)
		if err := unix.Access(filepath.Join(dataDir, path), unix.F_OK); err == nil {
			continue
		}
		if err := datadir.Make(dataDir, path); err != nil {
			return fmt.Errorf("create pod directory: %w", err)
		}
	}
	return nil
}
