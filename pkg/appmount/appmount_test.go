// SPDX-License-Identifier: Apache-2.0

package appmount

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
)

func yes(b bool) *bool { return &b }

func text(s string) *string { return &s }

func num(n int) *int { return &n }

const warning = `warning: no volume specified for mount point "data", implicitly creating an "empty" volume. ` +
	`This volume will be removed when the pod is garbage-collected.`

func TestNew(t *testing.T) {
	host := func(name string) appc.Volume {
		return appc.Volume{Name: appc.Name(name), Kind: "host", Source: "/src/" + name}
	}
	for _, tt := range []struct {
		name string
		q    Request
		want Plan
	}{
		{"nothing", Request{Volumes: []appc.Volume{host("unused")}}, Plan{}},
		{
			"mounts before mount points, first target wins",
			Request{
				Mounts:      []appc.Mount{{Volume: "a", Path: "/x"}, {Volume: "b", Path: "x/./"}, {Volume: "b", Path: "y"}},
				MountPoints: []appc.MountPoint{{Name: "c", Path: "/y/"}, {Name: "b", Path: "/z"}},
				Volumes:     []appc.Volume{host("a"), host("b"), host("c")},
			},
			Plan{Mounts: []Mount{
				{Volume: "a", Source: "/src/a", Target: "/x"},
				{Volume: "b", Source: "/src/b", Target: "/y"},
				{Volume: "b", Source: "/src/b", Target: "/z"},
			}},
		},
		{
			"embedded volume wins over the pod's",
			Request{
				Mounts:  []appc.Mount{{Volume: "a", Path: "/x", AppVolume: &appc.Volume{Name: "a", Kind: "host", Source: "/mine"}}},
				Volumes: []appc.Volume{host("a")},
			},
			Plan{Mounts: []Mount{{Volume: "a", Source: "/mine", Target: "/x"}}},
		},
		{
			"recursion: the flavor's, unless the volume says",
			Request{
				Recursive: true,
				Mounts:    []appc.Mount{{Volume: "a", Path: "/a"}, {Volume: "b", Path: "/b"}},
				Volumes:   []appc.Volume{host("a"), {Name: "b", Kind: "host", Source: "/src/b", Recursive: yes(false)}},
			},
			Plan{Mounts: []Mount{
				{Volume: "a", Source: "/src/a", Target: "/a", Recursive: true},
				{Volume: "b", Source: "/src/b", Target: "/b"},
			}},
		},
		{
			"read-only: volume, then mount point of that name",
			Request{
				Mounts:      []appc.Mount{{Volume: "a", Path: "/a"}, {Volume: "b", Path: "/b"}, {Volume: "c", Path: "/c"}},
				MountPoints: []appc.MountPoint{{Name: "a", Path: "/a", ReadOnly: true}, {Name: "b", Path: "/b", ReadOnly: true}, {Name: "c", Path: "/c"}},
				Volumes: []appc.Volume{
					{Name: "a", Kind: "host", Source: "/src/a", ReadOnly: yes(false)},
					host("b"),
					{Name: "c", Kind: "host", Source: "/src/c", ReadOnly: yes(true)},
				},
			},
			Plan{Mounts: []Mount{
				{Volume: "a", Source: "/src/a", Target: "/a"},
				{Volume: "b", Source: "/src/b", Target: "/b", ReadOnly: true},
				{Volume: "c", Source: "/src/c", Target: "/c", ReadOnly: true},
			}},
		},
		{
			"empty volumes",
			Request{
				Mounts:  []appc.Mount{{Volume: "a", Path: "/a"}, {Volume: "b", Path: "/b"}},
				Volumes: []appc.Volume{{Name: "a", Kind: "empty"}, {Name: "b", Kind: "empty", Mode: text("0700"), UID: num(1), GID: num(2)}},
				CopyUp:  true,
			},
			Plan{Mounts: []Mount{
				{Kind: Empty, Volume: "a", Target: "/a", Mode: 0o755},
				{Kind: Empty, Volume: "b", Target: "/b", Mode: 0o700, UID: 1, GID: 2},
			}},
		},
		{
			"implicit volume",
			Request{App: "web", MountPoints: []appc.MountPoint{{Name: "data", Path: "/d", ReadOnly: true}}, CopyUp: true, Recursive: true},
			Plan{
				Mounts:   []Mount{{Kind: Empty, Volume: "web-data", Target: "/d", Mode: 0o755, ReadOnly: true, CopyUp: true}},
				Warnings: []string{warning},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := New(tt.q)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	_, err := New(Request{Mounts: []appc.Mount{{Volume: "gone", Path: "/x"}}})
	var missing *MissingVolumeError
	if !errors.As(err, &missing) || err.Error() != "could not find volume gone" {
		t.Error(err)
	}
	if _, err := New(Request{
		Mounts: []appc.Mount{{Volume: "a", Path: "/x"}}, Volumes: []appc.Volume{{Name: "a", Kind: "empty", Mode: text("9")}},
	}); err == nil {
		t.Error("mode 9")
	}
	if _, err := New(Request{
		Mounts: []appc.Mount{{Volume: "a", Path: "/x"}}, Volumes: []appc.Volume{{Name: "a", Kind: "nfs"}},
	}); err == nil {
		t.Error("kind nfs")
	}
}

func TestBelow(t *testing.T) {
	for target, want := range map[string]bool{"/sys": true, "/sys/fs": true, "/x/../sys/": true, "/system": false, "/": false} {
		p := Plan{Mounts: []Mount{{Target: target}}}
		if got := p.Below("/sys"); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
}
