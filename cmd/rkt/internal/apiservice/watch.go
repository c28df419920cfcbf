// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/store/imagestore"
)

const (
	// settle is what passes between a notification and the look it causes, so
	// that one look serves many.
	settle = 20 * time.Millisecond
	// Looks without a notification: while pods run and otherwise.
	busyPoll = time.Second
	idlePoll = 15 * time.Second
)

// podMask is what is asked of a directory; closing a pod directory is how the end
// of the process that held its lock is noticed.
const podMask = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_CLOSE_NOWRITE | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW

// watcher finds out what happens. One goroutine uses it.
type watcher struct {
	dataDir string
	publish func([]*v1alpha.Event)
	log     *slog.Logger
	pods    *podWatch
	images  *imageWatch
	inotify *os.File // nil: polling has to do
}

func newWatcher(dataDir string, images *imagestore.Reader, publish func([]*v1alpha.Event), log *slog.Logger) *watcher {
	w := &watcher{dataDir: dataDir, publish: publish, log: log, pods: newPodWatch(dataDir), images: newImageWatch(images)}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		log.Warn("events come late: inotify is not available", "error", err)
		return w
	}
	w.inotify = os.NewFile(uintptr(fd), "inotify")
	return w
}

func (w *watcher) run(ctx context.Context) {
	defer w.pods.close()
	poke := make(chan struct{}, 1)
	if w.inotify != nil {
		defer func() { _ = w.inotify.Close() }()
		go w.notifications(poke)
	}
	w.look(ctx, time.Now()) // what is there is no event
	for {
		wait := idlePoll
		if w.pods.running() || w.inotify == nil {
			wait = busyPoll
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-poke:
			timer.Stop()
			select {
			case <-ctx.Done():
				return
			case <-time.After(settle):
			}
		}
		if events := w.look(ctx, time.Now()); len(events) > 0 {
			w.publish(events)
		}
	}
}

// notifications pokes whenever something happens; what, is looked for.
func (w *watcher) notifications(poke chan<- struct{}) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := w.inotify.Read(buf); err != nil {
			if !errors.Is(err, os.ErrClosed) {
				w.log.Warn("events come late: inotify has failed", "error", err)
			}
			return
		}
		select {
		case poke <- struct{}{}:
		default:
		}
	}
}

// look returns what has happened since the last look and watches what is new.
func (w *watcher) look(ctx context.Context, now time.Time) []*v1alpha.Event {
	w.watchDirs()
	events := w.pods.look(ctx, now)
	events = append(events, w.images.look(ctx, now)...)
	return events
}

// watchDirs watches everything there is. Watching twice is one watch.
func (w *watcher) watchDirs() {
	if w.inotify == nil {
		return
	}
	dirs := []string{filepath.Join(w.dataDir, poddir.CAS, "image", "sha512")}
	for _, d := range poddir.StateDirs() {
		dirs = append(dirs, filepath.Join(w.dataDir, poddir.Pods, d))
	}
	shards, err := os.ReadDir(dirs[0])
	if err == nil {
		for _, s := range shards {
			dirs = append(dirs, filepath.Join(dirs[0], s.Name()))
		}
	}
	dirs = append(dirs, w.pods.dirs()...)
	raw, err := w.inotify.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for _, d := range dirs {
			// Closing is of interest in pod directories only; reading a list of
			// them would wake the watcher, which reads a list of them.
			mask := uint32(podMask)
			if !w.pods.isPod(d) {
				mask &^= unix.IN_CLOSE_NOWRITE
			}
			_, _ = unix.InotifyAddWatch(int(fd), d, mask) // out of watches, or gone: polling has to do
		}
	})
}
