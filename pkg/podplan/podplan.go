// SPDX-License-Identifier: Apache-2.0

package podplan

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appmount"
	"github.com/rkt/rkt/v2/pkg/appuser"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

// Options are how the pod is started.
type Options struct {
	DisableCapabilities bool // insecure option "capabilities"
	DisablePaths        bool // insecure option "paths"
	DisableSeccomp      bool // insecure option "seccomp"
	Interactive         bool
	// Recursive is what a host volume is that does not say.
	Recursive bool
	// OwnNet and OwnIPC tell that these namespaces are the pod's, not the host's:
	// only then may it have their kernel parameters.
	OwnNet, OwnIPC bool
	// CopyUpAll fills the implicit volumes of every image, not only of those
	// that were converted from docker.
	CopyUpAll bool
}

// Pod is the plan of a pod.
type Pod struct {
	Apps []App
	// Limits are the isolators of the pod itself.
	Limits *isolator.Plan
	// Kept are the capabilities that some app of the pod keeps.
	Kept caps.Set
}

// Origin says where a setting comes from.
type Origin string

// The origins.
const (
	FromDefault  Origin = "default"
	FromImage    Origin = "image"
	FromUser     Origin = "flag or pod manifest"
	FromInsecure Origin = "--insecure-options"
	FromUID      Origin = "the user is not root"
)

// App is the plan of an app.
type App struct {
	Name    appc.Name
	Runtime appc.RuntimeApp
	Image   *appc.ImageManifest
	App     *appc.App // section that counts
	Docker  bool      // the image was converted from docker

	Limits *isolator.Plan
	Mounts appmount.Plan

	noNewPrivs Origin // of the isolator, if it is on

	Bounding       caps.Set // what the app may ever have
	BoundingOrigin Origin

	Filter       *seccomp.Policy // nil: no filter
	FilterOrigin Origin

	// Masks are nil with insecure option "paths".
	Masks *Masks

	Streams [3]Stream
	// Notify: the app reports its readiness itself (sd_notify(3)).
	Notify bool
}

// Stream is what a standard stream of an app is connected to.
type Stream string

// The streams (spec apps.md 12).
const (
	StreamNull        Stream = "null"
	StreamLog         Stream = "log"
	StreamTTY         Stream = "tty"
	StreamStream      Stream = "stream"
	StreamInteractive Stream = "interactive"
)

// annotationNotify of an image says that the app signals readiness itself.
const annotationNotify = "appc.io/executor/supports-systemd-notify"

// dockerAnnotations is the prefix of the annotations of a converted image.
const dockerAnnotations = "appc.io/docker/"

// New makes the plan of a pod. images holds the image manifest of each app.
func New(m *appc.PodManifest, images map[appc.Name]*appc.ImageManifest, o Options) (*Pod, error) {
	if err := checkVolumes(m.Volumes); err != nil {
		return nil, err
	}
	p := &Pod{}
	var err error
	if p.Limits, err = isolator.ParsePod(m.Isolators); err != nil {
		return nil, err
	}
	if len(p.Limits.Other) > 0 {
		return nil, &UnsupportedError{Isolator: p.Limits.Other[0].Name}
	}
	if err := p.Limits.CheckSysctls(isolator.Namespaces{Net: o.OwnNet, IPC: o.OwnIPC}); err != nil {
		return nil, err
	}
	for i := range m.Apps {
		a, err := NewApp(&m.Apps[i], images[m.Apps[i].Name], m.Volumes, o)
		if err != nil {
			return nil, fmt.Errorf("app %q: %w", m.Apps[i].Name, err)
		}
		p.Apps = append(p.Apps, *a)
		p.Kept |= a.Bounding
	}
	return p, nil
}

func checkVolumes(volumes []appc.Volume) error {
	seen := map[appc.Name]bool{}
	for _, v := range volumes {
		if seen[v.Name] {
			return fmt.Errorf("duplicate volume name %q", v.Name)
		}
		seen[v.Name] = true
	}
	return nil
}

// UnsupportedError names an isolator that no flavor can enforce.
type UnsupportedError struct{ Isolator appc.Identifier }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("the isolator %s is not supported", e.Isolator)
}

// NewApp makes the plan of one app.
func NewApp(ra *appc.RuntimeApp, image *appc.ImageManifest, volumes []appc.Volume, o Options) (*App, error) {
	a := &App{Name: ra.Name, Runtime: *ra, Image: image, App: ra.App}
	if image == nil {
		return nil, errors.New("there is no image manifest")
	}
	if a.App == nil {
		a.App = image.App
	}
	if a.App == nil {
		return nil, errors.New("no app section in the pod manifest or the image manifest")
	}
	for _, n := range image.Annotations {
		a.Docker = a.Docker || strings.HasPrefix(string(n.Name), dockerAnnotations)
		a.Notify = a.Notify || (string(n.Name) == annotationNotify && n.Value == "true")
	}
	if len(a.App.Exec) == 0 || a.App.Exec[0] == "" {
		return nil, fmt.Errorf(`image %q has an empty "exec" (try --exec=BINARY)`, image.Name)
	}
	steps := []func(Options) error{a.handlers, a.isolators, a.capabilities, a.filter, a.streams}
	for _, step := range steps {
		if err := step(o); err != nil {
			return nil, err
		}
	}
	if !o.DisablePaths {
		a.Masks = DefaultMasks()
	}
	var err error
	a.Mounts, err = appmount.New(appmount.Request{
		App:         a.Name,
		Mounts:      ra.Mounts,
		MountPoints: a.App.MountPoints,
		Volumes:     volumes,
		Recursive:   o.Recursive,
		CopyUp:      a.Docker || o.CopyUpAll,
	})
	return a, err
}

func (a *App) handlers(Options) error {
	for _, h := range a.App.EventHandlers {
		if h.Name != appc.PreStart && h.Name != appc.PostStop {
			return fmt.Errorf("unrecognized eventHandler: %v", h.Name)
		}
		if len(h.Exec) == 0 || !strings.HasPrefix(h.Exec[0], "/") {
			return fmt.Errorf("event handler %q: the program needs an absolute path", h.Name)
		}
	}
	return nil
}

// isolators makes the plan of the limits. A resource limit of the image's own
// that nothing enforces is dropped; its name stays in Limits.Other for a
// warning. Everything else unknown is refused.
func (a *App) isolators(Options) (err error) {
	var own appc.Isolators
	if a.Image.App != nil {
		own = a.Image.App.Isolators
	}
	items := isolator.Mark(a.App.Isolators, own)
	if a.Limits, err = isolator.Parse(items); err != nil {
		return err
	}
	a.noNewPrivs = askedBy(items, isolator.NoNewPrivs)
	for _, item := range a.Limits.Other {
		if item.Origin != isolator.FromImage || !strings.HasPrefix(string(item.Name), "resource/") {
			return &UnsupportedError{Isolator: item.Name}
		}
	}
	return nil
}

func (a *App) capabilities(o Options) error {
	a.Bounding, a.BoundingOrigin = caps.Default, FromDefault
	if c := a.Limits.Caps; c != nil {
		a.Bounding, a.BoundingOrigin = c.Bounding, origin(c.Origin)
	}
	if o.DisableCapabilities {
		a.Bounding, a.BoundingOrigin = caps.All, FromInsecure
	}
	return nil
}

func (a *App) filter(o Options) error {
	switch s := a.Limits.Seccomp; {
	case o.DisableSeccomp:
		a.FilterOrigin = FromInsecure
	case s == nil:
		p := seccomp.Default(a.Bounding)
		a.Filter, a.FilterOrigin = &p, FromDefault
	case s.Unfiltered:
		a.FilterOrigin = origin(s.Origin)
	default:
		p := s.Policy
		a.Filter, a.FilterOrigin = &p, origin(s.Origin)
	}
	return nil
}

func origin(o isolator.Origin) Origin {
	if o == isolator.FromImage {
		return FromImage
	}
	return FromUser
}

// NoNewPrivs tells whether the app runs without the power to gain privileges:
// asked for, or because a filter of a user other than root needs it. The
// second result says why.
func (a *App) NoNewPrivs(uid int) (bool, Origin) {
	if a.Limits.NoNewPrivs {
		return true, a.noNewPrivs
	}
	if a.Filter != nil && uid != 0 {
		return true, FromUID
	}
	return false, FromDefault
}

func (a *App) streams(o Options) error {
	names := []string{entrypoint.AnnotationStdin, entrypoint.AnnotationStdout, entrypoint.AnnotationStderr}
	for fd, name := range names {
		v, _ := a.Runtime.Annotations.Get(name)
		switch s := Stream(v); s {
		case StreamNull, StreamTTY, StreamStream, StreamInteractive:
			a.Streams[fd] = s
		case "", StreamLog:
			a.Streams[fd] = StreamLog
		default:
			return fmt.Errorf("invalid %s mode %q", path.Base(name), v)
		}
		if fd == 0 && a.Streams[fd] == StreamLog {
			a.Streams[fd] = StreamNull
		}
		if o.Interactive {
			a.Streams[fd] = StreamInteractive
		}
	}
	return nil
}

// HasTTY tells whether some stream of the app is a terminal.
func (a *App) HasTTY() bool {
	return slices.ContainsFunc(a.Streams[:], func(s Stream) bool { return s == StreamTTY || s == StreamInteractive })
}

// WorkDir is the working directory of the app.
func (a *App) WorkDir() string {
	if a.App.WorkingDirectory == "" {
		return "/"
	}
	return a.App.WorkingDirectory
}

// Identity is the request for user and group. The image's user field counts
// for a converted image whose group nobody has overridden.
func (a *App) Identity(shift, count uint32) appuser.Request {
	q := appuser.Request{
		User: a.App.User, Group: a.App.Group, SupplementaryGIDs: a.App.SupplementaryGIDs,
		Shift: shift, Count: count,
	}
	if own := a.Image.App; a.Docker && own != nil && own.Group == a.App.Group {
		q.ImageUser = own.User
	}
	return q
}

// Handlers are the commands of one kind of event handler.
func (a *App) Handlers(name string) (all [][]string) {
	for _, h := range a.App.EventHandlers {
		if h.Name == name {
			all = append(all, h.Exec)
		}
	}
	return all
}
