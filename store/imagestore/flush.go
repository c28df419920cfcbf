// SPDX-License-Identifier: Apache-2.0

package imagestore

import (
	"sync"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
)

// kickBytes is how much is written before write-back is started in the
// background.
const kickBytes = 32 << 20

// flusher brings what an import writes to disk with syncfs(2): one call covers
// thousands of files, and all who wait at the same time share one. Kicked now
// and then while data still arrives, it keeps the disk busy from the start, so
// that the last flush has little left to do.
type flusher struct {
	path string

	mu       sync.Mutex
	cond     *sync.Cond
	started  uint64 // number of calls begun
	finished uint64 // number of calls ended
	running  bool
	dirty    int64
	err      error // of any call so far: data may be lost, so it sticks
	kicks    sync.WaitGroup
}

func newFlusher(path string) *flusher {
	f := &flusher{path: path}
	f.cond = sync.NewCond(&f.mu)
	return f
}

// flush returns when everything written before the call is on disk.
func (f *flusher) flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	want := f.started + 1
	for f.finished < want {
		if f.running {
			f.cond.Wait()
			continue
		}
		f.run()
	}
	return f.err
}

// run makes one call; the caller holds mu.
func (f *flusher) run() {
	f.running = true
	f.started++
	f.dirty = 0
	f.mu.Unlock()
	err := atomicfile.SyncFS(f.path)
	f.mu.Lock()
	if f.err == nil {
		f.err = err
	}
	f.running = false
	f.finished = f.started
	f.cond.Broadcast()
}

// wrote tells that n more bytes were written.
func (f *flusher) wrote(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirty += int64(n)
	if f.dirty < kickBytes || f.running {
		return
	}
	f.dirty = 0
	f.kicks.Go(func() { _ = f.flush() })
}

// Write lets a flusher count at the end of an io.MultiWriter or a TeeReader.
func (f *flusher) Write(p []byte) (int, error) {
	f.wrote(len(p))
	return len(p), nil
}

// wait returns when no call is under way any more.
func (f *flusher) wait() { f.kicks.Wait() }
