// SPDX-License-Identifier: Apache-2.0

package podplan

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
)

func iso(name, value string) appc.Isolator {
	return appc.Isolator{Name: appc.Identifier(name), Value: json.RawMessage(value)}
}

func planOf(t *testing.T, image, section *appc.App, change func(*appc.RuntimeApp)) *App {
	t.Helper()
	ra := appc.RuntimeApp{Name: "web", App: section}
	if change != nil {
		change(&ra)
	}
	a, err := NewApp(&ra, &appc.ImageManifest{Name: "example.com/web", App: image}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func section() *appc.App {
	return &appc.App{Exec: []string{"/web", "-x"}, User: "www", Group: "www", SupplementaryGIDs: []int{1, 2}, WorkingDirectory: "/srv"}
}

func TestOrigins(t *testing.T) {
	type origins struct{ program, arguments, user, group, groups, dir, root, stdin, stdout Origin }
	of := func(a *App) origins {
		program, arguments := a.ExecOrigin()
		return origins{
			program, arguments, a.UserOrigin(), a.GroupOrigin(), a.GroupsOrigin(), a.WorkDirOrigin(), a.ReadOnlyOrigin(),
			a.StreamOrigin(0), a.StreamOrigin(1),
		}
	}
	image := origins{FromImage, FromImage, FromImage, FromImage, FromImage, FromImage, FromDefault, FromDefault, FromDefault}
	added, other := image, origins{FromUser, FromUser, FromUser, FromUser, FromUser, FromUser, FromUser, FromUser, FromDefault}
	added.arguments = FromUser
	for _, tt := range []struct {
		name  string
		image *appc.App
		app   func(*appc.App)
		ra    func(*appc.RuntimeApp)
		want  origins
	}{
		{"all of the image", section(), func(*appc.App) {}, nil, image},
		{"an argument more", section(), func(a *appc.App) { a.Exec = append(a.Exec, "y") }, nil, added},
		{"no section in the image", nil, func(*appc.App) {}, nil, origins{FromUser, FromUser, FromUser, FromUser, FromUser, FromUser, FromDefault, FromDefault, FromDefault}},
		{
			"everything else", section(),
			func(a *appc.App) {
				*a = appc.App{Exec: []string{"/other", "y"}, User: "0", Group: "0", SupplementaryGIDs: []int{1}, WorkingDirectory: "/"}
			},
			func(ra *appc.RuntimeApp) {
				ra.ReadOnlyRootFS = true
				ra.Annotations.Set(entrypoint.AnnotationStdin, "stream")
			},
			other,
		},
		{
			"nothing set", &appc.App{Exec: []string{"/web"}},
			func(a *appc.App) { *a = appc.App{Exec: []string{"/web"}} },
			nil,
			origins{FromImage, FromDefault, FromDefault, FromDefault, FromDefault, FromDefault, FromDefault, FromDefault, FromDefault},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := section()
			tt.app(app)
			if got := of(planOf(t, tt.image, app, tt.ra)); got != tt.want {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}

func TestNoNewPrivsOrigin(t *testing.T) {
	const name = "os/linux/no-new-privileges"
	on, off := iso(name, "true"), iso(name, "false")
	for _, tt := range []struct {
		name       string
		image, app appc.Isolators
		uid        int
		on         bool
		want       Origin
	}{
		{"nobody, root", nil, nil, 0, false, FromDefault},
		{"nobody, another user", nil, nil, 7, true, FromUID},
		{"image", appc.Isolators{on}, appc.Isolators{on}, 0, true, FromImage},
		{"image, another user", appc.Isolators{on}, appc.Isolators{on}, 7, true, FromImage},
		{"user", nil, appc.Isolators{on}, 0, true, FromUser},
		{"off", appc.Isolators{off}, appc.Isolators{off}, 0, false, FromDefault},
		{"image off, user on", appc.Isolators{off}, appc.Isolators{off, on}, 0, true, FromUser},
	} {
		t.Run(tt.name, func(t *testing.T) {
			image, app := section(), section()
			image.Isolators, app.Isolators = tt.image, tt.app
			if on, why := planOf(t, image, app, nil).NoNewPrivs(tt.uid); on != tt.on || why != tt.want {
				t.Errorf("%t %q, want %t %q", on, why, tt.on, tt.want)
			}
		})
	}
}

// TestKernelParameters: those of the host's namespaces are nobody's to set.
func TestKernelParameters(t *testing.T) {
	pod := func(name string) *appc.PodManifest {
		return &appc.PodManifest{Isolators: appc.Isolators{iso("os/unix/sysctl", `{"`+name+`":"1"}`)}}
	}
	for _, tt := range []struct {
		name string
		o    Options
		bad  string
	}{
		{"net.ipv4.ip_forward", Options{OwnNet: true}, ""},
		{"net.ipv4.ip_forward", Options{OwnIPC: true}, "needs a network of the pod's own"},
		{"kernel.shmmax", Options{OwnIPC: true}, ""},
		{"kernel.shmmax", Options{OwnNet: true}, "needs an IPC namespace of the pod's own"},
		{"kernel.domainname", Options{}, ""},
		{"kernel.modprobe", Options{OwnNet: true, OwnIPC: true}, "belongs to the host"},
	} {
		_, err := New(pod(tt.name), nil, tt.o)
		if (err == nil) != (tt.bad == "") || err != nil && !strings.Contains(err.Error(), tt.bad) {
			t.Errorf("%s with %+v: %v", tt.name, tt.o, err)
		}
	}
	if _, err := New(&appc.PodManifest{Isolators: appc.Isolators{iso("os/linux/cpu-shares", "100")}}, nil, Options{}); err == nil {
		t.Error("an isolator for apps is taken as one of the pod")
	}
}
