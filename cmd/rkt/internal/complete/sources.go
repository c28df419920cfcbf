// SPDX-License-Identifier: Apache-2.0

package complete

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/podunit"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// Sources are asked for what is there now. What cannot be read is left out.
type Sources interface {
	// Pods are the UUIDs that begin with prefix, of pods in the states wanted.
	Pods(prefix string, wanted func(pod.State) bool) []Candidate
	// Apps are the names of the apps of the pod whose UUID begins with uuid;
	// of all running pods if uuid is empty.
	Apps(uuid string) []Candidate
	// Images are names, and IDs if prefix is the begin of one.
	Images(prefix string) []Candidate
	// Networks are the names of networks a pod can get.
	Networks() []Candidate
	// Declarations are the names of the pods that files declare.
	Declarations() []Candidate
	// Keys are the fingerprints of the keys that may sign images.
	Keys() []Candidate
}

// Live reads the data and configuration directories.
type Live struct {
	Ctx     context.Context // ends when the time is up
	DataDir string
	CAS     string
	NetDirs []NetDir
	PodDirs []string           // with declarations
	Trusted func() []Candidate // the keys; nil if there are none
}

var _ Sources = Live{}

// Pods implements Sources.
func (s Live) Pods(prefix string, wanted func(pod.State) bool) []Candidate {
	var list []Candidate
	s.walk(func(p *pod.Pod) {
		if !strings.HasPrefix(string(p.UUID()), prefix) || !wanted(p.State()) {
			return
		}
		help := string(p.State())
		if apps := appNames(p); len(apps) > 0 {
			help += ": " + strings.Join(apps, ", ")
		}
		list = append(list, Candidate{string(p.UUID()), help})
	})
	return list
}

// Apps implements Sources.
func (s Live) Apps(uuid string) []Candidate {
	var list []Candidate
	s.walk(func(p *pod.Pod) {
		if uuid == "" && p.State() != pod.Running || !strings.HasPrefix(string(p.UUID()), uuid) {
			return
		}
		for _, name := range appNames(p) {
			list = append(list, Candidate{name, "pod " + string(p.UUID())[:8]})
		}
	})
	return list
}

// walk calls fn for the pods that can be read until the time is up. Where a
// directory is missing there are no pods, since package pod would create it.
func (s Live) walk(fn func(*pod.Pod)) {
	for _, dir := range poddir.StateDirs() {
		if _, err := os.Stat(filepath.Join(s.DataDir, poddir.Pods, dir)); err != nil {
			return
		}
	}
	n := 0
	_ = pod.Walk(context.WithoutCancel(s.Ctx), s.DataDir, pod.ListedDirs(), func(string) {}, func(p *pod.Pod) error {
		fn(p)
		n++
		return s.late(n)
	})
}

// atLeast is how much is read whatever the time: on a busy machine some
// suggestions a little late are better than none.
const atLeast = 32

// late ends a reading that takes too long.
func (s Live) late(read int) error {
	if read < atLeast {
		return nil
	}
	return s.Ctx.Err()
}

func appNames(p *pod.Pod) []string {
	if !p.State().HasManifest() {
		return nil
	}
	m, err := p.Manifest()
	if err != nil {
		return nil
	}
	names := make([]string, len(m.Apps))
	for i, app := range m.Apps {
		names[i] = app.Name.String()
	}
	return names
}

// idPrefix is how image IDs begin.
const idPrefix = "sha512-"

// Images implements Sources.
func (s Live) Images(prefix string) []Candidate {
	ids := prefix != "" && (strings.HasPrefix(idPrefix, prefix) || strings.HasPrefix(prefix, idPrefix))
	var list []Candidate
	n := 0
	_ = imagestore.Glance(s.CAS, func(r *imagestore.Record) error {
		name := string(r.Name)
		if version, ok := r.Labels.Get("version"); ok && version != "" {
			name += ":" + version
		}
		short := r.ID.Short()
		list = append(list, Candidate{name, short})
		switch {
		case ids && strings.HasPrefix(short, prefix):
			list = append(list, Candidate{short, name})
		case ids:
			list = append(list, Candidate{string(r.ID.Key()), name})
		}
		n++
		return s.late(n)
	})
	return list
}

// Declarations implements Sources.
func (s Live) Declarations() []Candidate {
	sources, _ := podunit.Find(s.PodDirs)
	list := make([]Candidate, len(sources))
	for i, src := range sources {
		list[i] = Candidate{src.Name, src.Path}
	}
	return list
}

// Keys implements Sources.
func (s Live) Keys() []Candidate {
	if s.Trusted == nil {
		return nil
	}
	return s.Trusted()
}
