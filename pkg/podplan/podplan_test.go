// SPDX-License-Identifier: Apache-2.0

package podplan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appmount"
	"github.com/rkt/rkt/v2/pkg/appuser"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

// newApp plans an app of an image whose section is the same.
func newApp(change func(*appc.App, *appc.RuntimeApp, *appc.ImageManifest), o Options, volumes ...appc.Volume) (*App, error) {
	image := &appc.ImageManifest{Name: "example.com/web", App: section()}
	ra := &appc.RuntimeApp{Name: "web"}
	if change != nil {
		change(image.App, ra, image)
	}
	return NewApp(ra, image, volumes, o)
}

func TestDefaults(t *testing.T) {
	a, err := newApp(nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Bounding != caps.Default || a.BoundingOrigin != FromDefault {
		t.Errorf("capabilities %s of %s", a.Bounding, a.BoundingOrigin)
	}
	want := seccomp.Default(caps.Default)
	if a.Filter == nil || cmp.Diff(want, *a.Filter) != "" || a.FilterOrigin != FromDefault {
		t.Errorf("filter %+v of %s", a.Filter, a.FilterOrigin)
	}
	if diff := cmp.Diff(DefaultMasks(), a.Masks); diff != "" {
		t.Errorf("masks (-want +got):\n%s", diff)
	}
	if a.Streams != [3]Stream{StreamNull, StreamLog, StreamLog} || a.HasTTY() || a.Notify || a.Docker {
		t.Errorf("%+v", a)
	}
	if a.WorkDir() != "/srv" || len(a.Handlers(appc.PreStart)) > 0 || len(a.Mounts.Mounts) > 0 {
		t.Errorf("%+v", a)
	}
	if a, err := newApp(func(a *appc.App, _ *appc.RuntimeApp, _ *appc.ImageManifest) { a.WorkingDirectory = "" }, Options{}); err != nil || a.WorkDir() != "/" {
		t.Errorf("%v", err)
	}
}

// TestDefaultMasks: what apps.md 3.2 and 15 list, and no path twice.
func TestDefaultMasks(t *testing.T) {
	m := DefaultMasks()
	for _, p := range strings.Fields(`/proc/bus /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/panic_on_oom /proc/sysrq-trigger /sys/block /sys/bus /sys/class /sys/dev
		/sys/devices /sys/kernel /proc/fs /proc/irq /proc/sys`) {
		if !slices.Contains(m.ReadOnly, p) {
			t.Errorf("%s is not read-only", p)
		}
	}
	for _, p := range strings.Fields(`/sys/firmware /sys/fs /sys/hypervisor /sys/module /sys/power /proc/config.gz /proc/kallsyms /proc/sched_debug /proc/kcore /proc/kmem /proc/mem
		/proc/acpi /proc/asound /proc/scsi /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats /proc/interrupts /sys/devices/virtual/powercap`) {
		if !slices.Contains(m.Inaccessible, p) {
			t.Errorf("%s is not hidden", p)
		}
	}
	all := slices.Concat(m.ReadOnly, m.Inaccessible)
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("a path twice: %v", all)
	}
	m.ReadOnly[0] = "changed"
	if DefaultMasks().ReadOnly[0] == "changed" {
		t.Error("the list can be changed by whoever asks for it")
	}
}

func TestInsecure(t *testing.T) {
	a, err := newApp(func(a *appc.App, _ *appc.RuntimeApp, _ *appc.ImageManifest) {
		a.Isolators = appc.Isolators{iso("os/linux/capabilities-retain-set", `{"set":["CAP_KILL"]}`), iso("os/linux/seccomp-remove-set", `{"set":["mkdir"]}`)}
	}, Options{DisableCapabilities: true, DisablePaths: true, DisableSeccomp: true})
	if err != nil {
		t.Fatal(err)
	}
	if a.Bounding != caps.All || a.BoundingOrigin != FromInsecure || a.Filter != nil || a.FilterOrigin != FromInsecure || a.Masks != nil {
		t.Errorf("%+v", a)
	}
	if on, why := a.NoNewPrivs(1000); on {
		t.Errorf("no-new-privileges without a filter: %s", why)
	}
}

func TestIsolators(t *testing.T) {
	with := func(list ...appc.Isolator) func(*appc.App, *appc.RuntimeApp, *appc.ImageManifest) {
		return func(a *appc.App, _ *appc.RuntimeApp, _ *appc.ImageManifest) { a.Isolators = list }
	}
	a, err := newApp(with(iso("os/linux/capabilities-retain-set", `{"set":["CAP_KILL"]}`), iso("os/linux/seccomp-remove-set", `{"set":["mkdir"],"errno":"EACCES"}`)), Options{})
	if err != nil || a.Bounding != 1<<5 || a.BoundingOrigin != FromImage || a.FilterOrigin != FromImage || a.Filter.Mode != seccomp.Remove || !slices.Equal(a.Filter.Calls, []string{"mkdir"}) {
		t.Errorf("%+v, %v", a, err)
	}
	a, err = newApp(with(iso("os/linux/seccomp-retain-set", `{"set":["@appc.io/all"]}`)), Options{})
	if err != nil || a.Filter != nil || a.FilterOrigin != FromImage {
		t.Errorf("retain everything: %+v, %v", a.Filter, err)
	}
	for name, tt := range map[string]struct {
		isolator appc.Isolator
		uid      int
		on       bool
		why      Origin
	}{
		"asked":          {iso("os/linux/no-new-privileges", `true`), 0, true, FromImage},
		"not asked root": {iso("os/linux/no-new-privileges", `false`), 0, false, FromDefault},
		"user":           {iso("os/linux/no-new-privileges", `false`), 1000, true, FromUID},
	} {
		a, err := newApp(with(tt.isolator), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if on, why := a.NoNewPrivs(tt.uid); on != tt.on || why != tt.why {
			t.Errorf("%s: %v, %s", name, on, why)
		}
	}
	// of the image's own: a resource is a warning, everything else an error
	if a, err := newApp(with(iso("resource/network-bandwidth", `{"default":true,"limit":"1G"}`)), Options{}); err != nil || len(a.Limits.Other) != 1 {
		t.Errorf("%v", err)
	}
	var unsupported *UnsupportedError
	if _, err := newApp(with(iso("example.com/x", `1`)), Options{}); !errors.As(err, &unsupported) || unsupported.Isolator != "example.com/x" {
		t.Errorf("%v", err)
	}
	asked := func(_ *appc.App, ra *appc.RuntimeApp, _ *appc.ImageManifest) {
		ra.App = section()
		ra.App.Isolators = appc.Isolators{iso("resource/network-bandwidth", `{"default":true,"limit":"1G"}`)}
	}
	if _, err := newApp(asked, Options{}); !errors.As(err, &unsupported) {
		t.Errorf("a resource that a person has asked for: %v", err)
	}
}

func TestStreams(t *testing.T) {
	for _, tt := range []struct {
		modes       [3]string
		interactive bool
		want        [3]Stream
		tty         bool
	}{
		{[3]string{"stream", "stream", "null"}, false, [3]Stream{StreamStream, StreamStream, StreamNull}, false},
		{[3]string{"tty", "log", ""}, false, [3]Stream{StreamTTY, StreamLog, StreamLog}, true},
		{[3]string{"log", "", "log"}, false, [3]Stream{StreamNull, StreamLog, StreamLog}, false},
		{[3]string{"null", "tty", "null"}, true, [3]Stream{StreamInteractive, StreamInteractive, StreamInteractive}, true},
	} {
		a, err := newApp(func(_ *appc.App, ra *appc.RuntimeApp, _ *appc.ImageManifest) {
			for fd, name := range []string{entrypoint.AnnotationStdin, entrypoint.AnnotationStdout, entrypoint.AnnotationStderr} {
				if tt.modes[fd] != "" {
					ra.Annotations = append(ra.Annotations, appc.Annotation{Name: appc.Identifier(name), Value: tt.modes[fd]})
				}
			}
		}, Options{Interactive: tt.interactive})
		if err != nil || a.Streams != tt.want || a.HasTTY() != tt.tty {
			t.Errorf("%v: %v, %v", tt.modes, a, err)
		}
	}
	_, err := newApp(func(_ *appc.App, ra *appc.RuntimeApp, _ *appc.ImageManifest) {
		ra.Annotations = appc.Annotations{{Name: entrypoint.AnnotationStdout, Value: "file"}}
	}, Options{})
	if err == nil || !strings.Contains(err.Error(), `invalid stdout mode "file"`) {
		t.Error(err)
	}
}

func TestImageAnnotations(t *testing.T) {
	a, err := newApp(func(a *appc.App, _ *appc.RuntimeApp, image *appc.ImageManifest) {
		image.Annotations = appc.Annotations{{Name: annotationNotify, Value: "true"}, {Name: "appc.io/docker/repository", Value: "x"}}
		a.MountPoints = []appc.MountPoint{{Name: "data", Path: "/data"}}
		a.EventHandlers = []appc.EventHandler{{Name: appc.PreStart, Exec: []string{"/pre"}}, {Name: appc.PostStop, Exec: []string{"/post", "x"}}}
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !a.Notify || !a.Docker || len(a.Mounts.Mounts) != 1 || !a.Mounts.Mounts[0].CopyUp {
		t.Errorf("%+v", a)
	}
	if diff := cmp.Diff([][]string{{"/post", "x"}}, a.Handlers(appc.PostStop)); diff != "" {
		t.Error(diff)
	}
	want := appuser.Request{User: "www", Group: "www", SupplementaryGIDs: []int{1, 2}, Shift: 7, Count: 9, ImageUser: "www"}
	if diff := cmp.Diff(want, a.Identity(7, 9)); diff != "" {
		t.Error(diff)
	}
}

func TestAppErrors(t *testing.T) {
	handler := func(name string, exec ...string) func(*appc.App, *appc.RuntimeApp, *appc.ImageManifest) {
		return func(a *appc.App, _ *appc.RuntimeApp, _ *appc.ImageManifest) {
			a.EventHandlers = []appc.EventHandler{{Name: name, Exec: exec}}
		}
	}
	for want, change := range map[string]func(*appc.App, *appc.RuntimeApp, *appc.ImageManifest){
		`image "example.com/web" has an empty "exec" (try --exec=BINARY)`: func(a *appc.App, _ *appc.RuntimeApp, _ *appc.ImageManifest) { a.Exec = nil },
		`has an empty "exec"`:              func(a *appc.App, _ *appc.RuntimeApp, _ *appc.ImageManifest) { a.Exec = []string{""} },
		"no app section":                   func(_ *appc.App, _ *appc.RuntimeApp, m *appc.ImageManifest) { m.App = nil },
		"unrecognized eventHandler: other": handler("other", "/x"),
		`event handler "pre-start": the program needs an absolute path`: handler(appc.PreStart, "x"),
		`event handler "post-stop": the program needs an absolute path`: handler(appc.PostStop),
		"could not find volume": func(_ *appc.App, ra *appc.RuntimeApp, _ *appc.ImageManifest) {
			ra.Mounts = []appc.Mount{{Volume: "none", Path: "/x"}}
		},
		"cannot have both": func(a *appc.App, _ *appc.RuntimeApp, _ *appc.ImageManifest) {
			a.Isolators = appc.Isolators{iso("os/linux/capabilities-retain-set", `{"set":["CAP_KILL"]}`), iso("os/linux/capabilities-remove-set", `{"set":["CAP_KILL"]}`)}
		},
	} {
		if a, err := newApp(change, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %+v, %v", want, a, err)
		}
	}
	if _, err := NewApp(&appc.RuntimeApp{Name: "web", App: section()}, nil, nil, Options{}); err == nil {
		t.Error("without an image manifest")
	}
}

func TestPod(t *testing.T) {
	volumes := []appc.Volume{{Name: "v", Kind: "host", Source: "/srv"}}
	image := &appc.ImageManifest{Name: "example.com/web", App: section()}
	two := section()
	two.Isolators = appc.Isolators{iso("os/linux/capabilities-retain-set", `{"set":["CAP_NET_ADMIN"]}`)}
	m := &appc.PodManifest{
		Apps: []appc.RuntimeApp{{Name: "one", Mounts: []appc.Mount{{Volume: "v", Path: "/v"}}}, {Name: "two", App: two}}, Volumes: volumes,
		Isolators: appc.Isolators{iso("resource/memory", `{"limit":"64Mi"}`)},
	}
	images := map[appc.Name]*appc.ImageManifest{"one": image, "two": image}
	p, err := New(m, images, Options{Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Apps) != 2 || p.Kept != caps.Default|1<<12 || p.Limits.Memory == nil || p.Limits.Memory.Limit != 64<<20 {
		t.Errorf("%+v", p)
	}
	want := []appmount.Mount{{Kind: appmount.Host, Volume: "v", Source: "/srv", Target: "/v", Recursive: true}}
	if diff := cmp.Diff(want, p.Apps[0].Mounts.Mounts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for want, change := range map[string]func(m *appc.PodManifest){
		`duplicate volume name "v"`:      func(m *appc.PodManifest) { m.Volumes = append(volumes, volumes[0]) },
		`app "three"`:                    func(m *appc.PodManifest) { m.Apps = append(m.Apps, appc.RuntimeApp{Name: "three"}) },
		`example.com/x is not supported`: func(m *appc.PodManifest) { m.Isolators = appc.Isolators{iso("example.com/x", `1`)} },
		`os/linux/oom-score-adj`:         func(m *appc.PodManifest) { m.Isolators = appc.Isolators{iso("os/linux/oom-score-adj", `1`)} },
		`os/linux/seccomp-remove-set`: func(m *appc.PodManifest) {
			m.Isolators = appc.Isolators{iso("os/linux/seccomp-remove-set", `{"set":["mkdir"]}`)}
		},
		`app "one": could not find volume`: func(m *appc.PodManifest) { m.Volumes = nil },
	} {
		changed := *m
		changed.Apps = slices.Clone(m.Apps)
		change(&changed)
		if p, err := New(&changed, images, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %+v, %v", want, p, err)
		}
	}
}
