// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// podView is what was last seen of a pod. Its steps only go forward.
type podView struct {
	place   string // state directory
	state   pod.State
	started bool
	exited  bool
	apps    map[string]appView

	open    *pod.Pod // of a pod that can still run: held so that looking closes nothing
	s1      string
	changed [2]time.Time // of the directories where stage1 records what apps do
}

type appView struct {
	started, exited bool
	code            int
}

// podWatch finds the differences between looks.
type podWatch struct {
	dataDir string
	first   bool
	seen    map[poddir.UUID]*podView
}

func newPodWatch(dataDir string) *podWatch {
	return &podWatch{dataDir: dataDir, first: true, seen: map[poddir.UUID]*podView{}}
}

func (w *podWatch) close() {
	for _, v := range w.seen {
		_ = v.open.Close()
	}
}

func (w *podWatch) running() bool {
	for _, v := range w.seen {
		if v.open != nil {
			return true
		}
	}
	return false
}

// dirs are the directories of pods that can still run.
func (w *podWatch) dirs() []string {
	var dirs []string
	for _, v := range w.seen {
		if v.open != nil {
			dirs = append(dirs, v.open.Path())
			if v.s1 != "" {
				dirs = append(dirs, filepath.Join(v.open.Path(), v.s1, poddir.StatusDir))
			}
		}
	}
	return dirs
}

// isPod tells a pod directory from others.
func (w *podWatch) isPod(dir string) bool {
	_, err := poddir.ParseUUID(filepath.Base(dir))
	return err == nil
}

// look returns the events since the last look; the first finds none.
func (w *podWatch) look(ctx context.Context, now time.Time) []*v1alpha.Event {
	places, err := pod.Places(w.dataDir, poddir.StateDirs())
	if err != nil {
		return nil // the next look may do better
	}
	var events []*v1alpha.Event
	uuids := make([]poddir.UUID, 0, len(places))
	for uuid := range places {
		uuids = append(uuids, uuid)
	}
	slices.Sort(uuids)
	for _, uuid := range uuids {
		v := w.seen[uuid]
		if v == nil {
			v = &podView{apps: map[string]appView{}}
			w.seen[uuid] = v
		}
		if v.place != places[uuid] || v.open != nil {
			before := *v
			v.place = places[uuid]
			v.update(ctx, w.dataDir, uuid)
			events = append(events, podEvents(uuid, &before, v, now)...)
		}
	}
	for uuid, v := range w.seen {
		if _, ok := places[uuid]; !ok {
			_ = v.open.Close()
			delete(w.seen, uuid)
			events = append(events, newEvent(v1alpha.EventType_EVENT_TYPE_POD_GARBAGE_COLLECTED, uuid.String(), uuid.String(), now))
		}
	}
	if w.first {
		w.first = false
		return nil
	}
	return events
}

// update looks at a pod. What cannot be read is as it was.
func (v *podView) update(ctx context.Context, dataDir string, uuid poddir.UUID) {
	if v.open == nil {
		p, err := pod.Open(ctx, dataDir, uuid)
		if err != nil {
			return
		}
		v.open = p
	} else if err := v.open.Refresh(); err != nil {
		return
	}
	v.state = v.open.State()
	v.exited = v.exited || v.state.IsAfterRun()
	if v.state.HasStarted() {
		v.updateApps()
	}
	if v.state.IsFinished() {
		_ = v.open.Close()
		v.open = nil
	}
}

// updateApps reads what apps do if something has changed.
func (v *podView) updateApps() {
	if v.s1 == "" {
		v.s1, _ = v.open.ReadableStage1()
	}
	var changed [2]time.Time
	for i, dir := range []string{poddir.StatusDir, filepath.Dir(poddir.StatusDir)} {
		changed[i], _ = v.open.Modified(filepath.Join(v.s1, dir))
	}
	if v.started && !v.exited && changed == v.changed {
		return
	}
	in := v.open.Info()
	v.started = v.started || !in.Started.IsZero()
	apps := make(map[string]appView, len(in.Apps))
	for _, a := range in.Apps {
		view := v.apps[a.Name]
		view.started = view.started || v.started && a.State != pod.AppCreated && a.State != pod.AppUnknown
		if a.ExitCode != nil {
			view.code, view.exited = *a.ExitCode, true
		}
		view.exited = view.exited || v.exited
		apps[a.Name] = view
	}
	v.apps, v.changed = apps, changed
}

// podEvents are the steps from one view of a pod to a later one.
func podEvents(uuid poddir.UUID, before, after *podView, now time.Time) []*v1alpha.Event {
	var events []*v1alpha.Event
	id := uuid.String()
	add := func(t v1alpha.EventType, from string) *v1alpha.Event {
		e := newEvent(t, id, from, now)
		events = append(events, e)
		return e
	}
	if after.state == pod.Prepared && before.state != pod.Prepared {
		add(v1alpha.EventType_EVENT_TYPE_POD_PREPARED, id)
	}
	if aborted(after) && !aborted(before) {
		add(v1alpha.EventType_EVENT_TYPE_POD_PREPARE_ABORTED, id)
	}
	if after.started && !before.started {
		add(v1alpha.EventType_EVENT_TYPE_POD_STARTED, id)
	}
	names := make([]string, 0, len(after.apps))
	for name := range after.apps {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare)
	for _, name := range names {
		if after.apps[name].started && !before.apps[name].started {
			add(v1alpha.EventType_EVENT_TYPE_APP_STARTED, valid(name))
		}
	}
	for _, name := range names {
		if a := after.apps[name]; a.started && a.exited && !before.apps[name].exited {
			e := add(v1alpha.EventType_EVENT_TYPE_APP_EXITED, valid(name))
			e.Data = []*v1alpha.KeyValue{{Key: "exit-code", Value: strconv.Itoa(a.code)}}
		}
	}
	if after.started && after.exited && (!before.exited || !before.started) {
		add(v1alpha.EventType_EVENT_TYPE_POD_EXITED, id)
	}
	return events
}

func aborted(v *podView) bool { return v.state == pod.AbortedPrepare }

func newEvent(t v1alpha.EventType, id, from string, now time.Time) *v1alpha.Event {
	return &v1alpha.Event{Type: t, Id: id, From: from, Time: now.Unix()}
}
