// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Info is what "list" and "status" tell about a pod. Zero times are unknown.
type Info struct {
	UUID            poddir.UUID
	State           State
	Created         time.Time
	Started         time.Time
	Marked          time.Time // for gc
	PID             int       // 0: unknown
	Networks        []Network
	Apps            []AppInfo
	UserAnnotations map[string]string
	UserLabels      map[string]string

	// Err is what could not be read; the rest is valid.
	Err error
}

// AppState is the state of an app.
type AppState string

// States of an app.
const (
	AppUnknown AppState = "unknown"
	AppCreated AppState = "created"
	AppRunning AppState = "running"
	AppExited  AppState = "exited"
)

// AppInfo is what "list" and "status" tell about an app.
type AppInfo struct {
	Name    string
	State   AppState
	ImageID string // as in the pod manifest: may be abbreviated

	// ImageName and ImageVersion are from the image manifest saved with the
	// pod, empty if it cannot be read.
	ImageName    string
	ImageVersion string

	Created  time.Time
	Started  time.Time
	Finished time.Time
	ExitCode *int // nil: not recorded

	// How it ended, if the pod's stage1 has recorded that.
	Signal     int // that killed it
	CoreDumped bool
	OOMKilled  bool

	Mounts          []AppMount
	UserAnnotations map[string]string
	UserLabels      map[string]string
}

// AppMount is a volume mounted in an app.
type AppMount struct {
	Name          string
	ContainerPath string
	HostPath      string
	ReadOnly      bool
}

// Detail says how much is told about a pod: each file less counts when a
// thousand pods are listed.
type Detail int

const (
	// Table is what a table of pods shows: of apps, names and images only.
	Table Detail = iota
	// Full is everything but PID.
	Full
)

// Info gathers what "list" and "status" show. What cannot be read is left out
// and reported in Info.Err.
func (p *Pod) Info() Info {
	in := p.info(Full)
	if p.state.HasStarted() {
		var err error
		in.PID, err = p.PID()
		in.Err = errors.Join(in.Err, err)
	}
	return in
}

func (p *Pod) info(detail Detail) Info {
	in := Info{UUID: p.uuid, State: p.state}
	if !p.state.HasManifest() {
		return in
	}
	var problems []error
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	var err error
	in.Created, err = p.Created()
	note(err)
	if p.state.HasStarted() {
		in.Started, err = p.Started()
		note(err)
	}
	in.Marked, err = p.Marked()
	note(err)
	in.Networks, err = p.Networks()
	note(err)
	if detail == Table {
		note(p.appNames(&in))
	} else {
		note(p.appInfos(&in))
	}
	in.Err = errors.Join(problems...)
	return in
}

// appNames is appInfos for a table.
func (p *Pod) appNames(in *Info) error {
	data, err := p.RawManifest()
	if err != nil {
		return err
	}
	var m struct { // a fifth of what there is to decode
		Apps []struct {
			Name  string `json:"name"`
			Image struct {
				ID string `json:"id"`
			} `json:"image"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return p.badManifest(data, err)
	}
	var problems []error
	for _, app := range m.Apps {
		a := AppInfo{Name: app.Name, ImageID: app.Image.ID}
		if _, err := appc.NewName(a.Name); err != nil { // it becomes a path component
			problems = append(problems, fmt.Errorf("app name %q: %w", a.Name, err))
		} else if data, err := p.readFile(poddir.AppInfoManifest(a.Name)); err == nil {
			a.ImageName, a.ImageVersion = imageName(data)
		}
		in.Apps = append(in.Apps, a)
	}
	return errors.Join(problems...)
}

// badManifest says what is wrong with a pod manifest, and where.
func (p *Pod) badManifest(data []byte, err error) error {
	if _, precise := appc.ParsePodManifest(data); precise != nil {
		err = precise
	}
	return fmt.Errorf("pod manifest of %s: %w", p.uuid, err)
}

func (p *Pod) appInfos(in *Info) error {
	data, err := p.RawManifest()
	if err != nil {
		return err
	}
	// Not ParsePodManifest: it was valid when it was prepared, and listing a
	// thousand pods must not validate a thousand manifests.
	var m appc.PodManifest
	if err := json.Unmarshal(data, &m); err != nil {
		return p.badManifest(data, err)
	}
	in.UserAnnotations, in.UserLabels = m.UserAnnotations, m.UserLabels
	s1, err := p.ReadableStage1()
	if err != nil {
		return err
	}
	var problems []error
	for i := range m.Apps {
		app, err := p.appInfo(in, &m, &m.Apps[i], s1)
		in.Apps = append(in.Apps, app)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func (p *Pod) appInfo(in *Info, m *appc.PodManifest, ra *appc.RuntimeApp, s1 string) (AppInfo, error) {
	a := AppInfo{Name: ra.Name.String(), ImageID: string(ra.Image.ID)}
	if _, err := appc.NewName(a.Name); err != nil { // it becomes a path component
		return a, fmt.Errorf("app name %q: %w", a.Name, err)
	}
	app := ra.App
	if data, err := p.readFile(poddir.AppInfoManifest(a.Name)); err == nil {
		a.ImageName, a.ImageVersion = imageName(data)
		if app == nil {
			app = appSection(data)
		}
	}
	if app != nil {
		a.UserAnnotations, a.UserLabels = app.UserAnnotations, app.UserLabels
	}
	a.Mounts = p.mounts(m, ra, app)
	status, err := p.appStatus(s1, ra.Name)
	if status != nil {
		p.appExit(&a, s1, status)
	}
	if v, _ := m.Annotations.Get(entrypoint.MutableAnnotation); v == "true" {
		p.mutableState(&a, in, s1, status, err)
		return a, nil
	}
	immutableState(&a, in, status)
	return a, err
}

// appExit adds what stage1 recorded beside the status. A record that cannot be
// read counts as none.
func (p *Pod) appExit(a *AppInfo, s1 string, status *AppStatus) {
	data, err := p.readFile(filepath.Join(s1, poddir.AppExitFile(a.Name)))
	if err != nil {
		return
	}
	exit, err := poddir.ParseAppExit(data)
	if err != nil {
		return
	}
	a.Signal, a.CoreDumped, a.OOMKilled = exit.Signal, exit.CoreDumped, exit.OOMKilled
	if !exit.FinishedAt.IsZero() {
		status.Finished = exit.FinishedAt
	}
	status.started = exit.StartedAt
}

// imageName reads name and version from an image manifest that was valid when
// it was saved; empty if it is not any more.
func imageName(manifest []byte) (name, version string) {
	var m struct {
		Name   string      `json:"name"`
		Labels appc.Labels `json:"labels"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return "", ""
	}
	version, _ = m.Labels.Get("version")
	return m.Name, version
}

func appSection(manifest []byte) *appc.App {
	var m struct {
		App *appc.App `json:"app"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil
	}
	return m.App
}

// immutableState derives an app's state from the pod's (spec pods.md 12).
func immutableState(a *AppInfo, in *Info, status *AppStatus) {
	switch {
	case in.State == Prepared:
		a.State = AppCreated
	case in.State == Running:
		a.State = AppRunning
	case in.State.IsAfterRun():
		a.State = AppExited
		a.Finished = in.Marked
	default:
		a.State = AppUnknown
	}
	a.Created, a.Started = in.Created, in.Started
	if status != nil {
		a.State = AppExited
		a.ExitCode = &status.Code
		a.Finished = status.Finished
		if !status.started.IsZero() {
			a.Started = status.started
		}
	}
}

// mutableState derives an app's state from its own marker files. An unreadable
// status counts as 1.
func (p *Pod) mutableState(a *AppInfo, in *Info, s1 string, status *AppStatus, statusErr error) {
	a.State = AppUnknown
	if t, err := p.markerTime(filepath.Join(s1, poddir.AppCreated(a.Name))); err == nil {
		a.Created, a.State = t, AppCreated
		if t, err := p.markerTime(filepath.Join(s1, poddir.AppStarted(a.Name))); err == nil {
			a.Started, a.State = t, AppRunning
		}
		if statusErr != nil {
			status = &AppStatus{Code: 1}
		}
	}
	if status != nil {
		a.State = AppExited
		a.ExitCode = &status.Code
		a.Finished = status.Finished
	}
	if in.State.IsAfterRun() {
		a.State = AppExited
		if a.Finished.IsZero() {
			a.Finished = in.Marked
		}
	}
}

func (p *Pod) markerTime(rel string) (time.Time, error) {
	_, t, err := p.readStat(rel)
	return t, err
}

// mounts pairs an app's mounts, and the mount points of its image that no
// mount names, with volumes.
func (p *Pod) mounts(m *appc.PodManifest, ra *appc.RuntimeApp, app *appc.App) []AppMount {
	var out []AppMount
	named := make(map[appc.Name]bool, len(ra.Mounts))
	for _, mount := range ra.Mounts {
		named[mount.Volume] = true
		volume := mount.AppVolume
		if volume == nil {
			volume = findVolume(m.Volumes, mount.Volume)
		}
		if volume != nil {
			out = append(out, p.appMount(volume, mount.Volume, mount.Path, mountPoint(app, mount.Volume)))
		}
	}
	if app == nil {
		return out
	}
	for i := range app.MountPoints {
		mp := &app.MountPoints[i]
		if volume := findVolume(m.Volumes, mp.Name); volume != nil && !named[mp.Name] {
			out = append(out, p.appMount(volume, mp.Name, mp.Path, mp))
		}
	}
	return out
}

// appMount describes a mount; name is what the app calls the volume.
func (p *Pod) appMount(v *appc.Volume, name appc.Name, path string, mp *appc.MountPoint) AppMount {
	am := AppMount{Name: name.String(), ContainerPath: path, HostPath: v.Source}
	if v.Kind == appc.EmptyVolume {
		am.HostPath = filepath.Join(p.Path(), poddir.SharedVolumes, v.Name.String())
	}
	switch {
	case v.ReadOnly != nil:
		am.ReadOnly = *v.ReadOnly
	case mp != nil:
		am.ReadOnly = mp.ReadOnly
	}
	return am
}

func findVolume(volumes []appc.Volume, name appc.Name) *appc.Volume {
	for i := range volumes {
		if volumes[i].Name == name {
			return &volumes[i]
		}
	}
	return nil
}

func mountPoint(app *appc.App, name appc.Name) *appc.MountPoint {
	if app == nil {
		return nil
	}
	for i := range app.MountPoints {
		if app.MountPoints[i].Name == name {
			return &app.MountPoints[i]
		}
	}
	return nil
}
