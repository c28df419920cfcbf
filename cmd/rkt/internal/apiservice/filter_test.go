// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"testing"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
)

func pair(k, v string) *v1alpha.KeyValue { return &v1alpha.KeyValue{Key: k, Value: v} }

func TestPodFilters(t *testing.T) {
	p := &v1alpha.Pod{
		Id: "u1", State: v1alpha.PodState_POD_STATE_RUNNING, Cgroup: "/machine.slice/a",
		Apps: []*v1alpha.App{
			{Name: "a", Image: &v1alpha.Image{Id: "sha512-a"}}, {Name: "b", Image: &v1alpha.Image{Id: "sha512-b"}},
		},
		Networks:    []*v1alpha.Network{{Name: "n1"}, {Name: "n2"}},
		Annotations: []*v1alpha.KeyValue{pair("k", "v"), pair("l", "w")},
	}
	none := &v1alpha.Pod{Id: "u2"}
	for _, tc := range []struct {
		name string
		f    *v1alpha.PodFilter
		want bool
	}{
		{"empty", &v1alpha.PodFilter{}, true},
		{"id: any of", &v1alpha.PodFilter{Ids: []string{"x", "u1"}}, true},
		{"other id", &v1alpha.PodFilter{Ids: []string{"u"}}, false},
		{"state: any of", &v1alpha.PodFilter{States: []v1alpha.PodState{1, 4}}, true},
		{"other state", &v1alpha.PodFilter{States: []v1alpha.PodState{6}}, false},
		{"apps: all", &v1alpha.PodFilter{AppNames: []string{"b", "a"}}, true},
		{"apps: one is missing", &v1alpha.PodFilter{AppNames: []string{"a", "c"}}, false},
		{"images: all", &v1alpha.PodFilter{ImageIds: []string{"sha512-a", "sha512-b"}}, true},
		{"images: one is missing", &v1alpha.PodFilter{ImageIds: []string{"sha512-a", "sha512-c"}}, false},
		{"networks: all", &v1alpha.PodFilter{NetworkNames: []string{"n2"}}, true},
		{"networks: one is missing", &v1alpha.PodFilter{NetworkNames: []string{"n2", "n3"}}, false},
		{"annotations: all", &v1alpha.PodFilter{Annotations: []*v1alpha.KeyValue{pair("k", "v"), pair("l", "w")}}, true},
		{"annotations: other value", &v1alpha.PodFilter{Annotations: []*v1alpha.KeyValue{pair("k", "w")}}, false},
		{"cgroup", &v1alpha.PodFilter{Cgroups: []string{"/x", "/machine.slice/a"}}, true},
		{"cgroup is not a prefix", &v1alpha.PodFilter{Cgroups: []string{"/machine.slice"}}, false},
		{"below", &v1alpha.PodFilter{PodSubCgroups: []string{"/machine.slice/a/system.slice/x.service"}}, true},
		{"above", &v1alpha.PodFilter{PodSubCgroups: []string{"/machine.slice"}}, false},
		{"and", &v1alpha.PodFilter{Ids: []string{"u1"}, AppNames: []string{"c"}}, false},
	} {
		if got := anyPodFilter(p, []*v1alpha.PodFilter{tc.f}); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
	if !anyPodFilter(p, nil) || !anyPodFilter(p, []*v1alpha.PodFilter{{Ids: []string{"x"}}, {Ids: []string{"u1"}}}) {
		t.Error("no filter is everything, and several are alternatives")
	}
	if anyPodFilter(none, []*v1alpha.PodFilter{{PodSubCgroups: []string{"/a"}}}) {
		t.Error("a pod without a cgroup is below none")
	}
}

func TestImageFilters(t *testing.T) {
	i := &v1alpha.Image{
		Id: "sha512-a", Name: "example.com/dir/app", ImportTimestamp: 100,
		Labels: []*v1alpha.KeyValue{pair("os", "linux"), pair("version", "1")}, Annotations: []*v1alpha.KeyValue{pair("k", "v")},
	}
	for _, tc := range []struct {
		name string
		f    *v1alpha.ImageFilter
		want bool
	}{
		{"empty", &v1alpha.ImageFilter{}, true},
		{"id", &v1alpha.ImageFilter{Ids: []string{"sha512-b", "sha512-a"}}, true},
		{"other id", &v1alpha.ImageFilter{Ids: []string{"sha512-"}}, false},
		{"full name", &v1alpha.ImageFilter{FullNames: []string{"example.com/dir/app"}}, true},
		{"not full", &v1alpha.ImageFilter{FullNames: []string{"app"}}, false},
		{"base name", &v1alpha.ImageFilter{BaseNames: []string{"app"}}, true},
		{"not base", &v1alpha.ImageFilter{BaseNames: []string{"dir/app"}}, false},
		{"prefix", &v1alpha.ImageFilter{Prefixes: []string{"x", "example.com/d"}}, true},
		{"no prefix", &v1alpha.ImageFilter{Prefixes: []string{"dir"}}, false},
		{"keyword", &v1alpha.ImageFilter{Keywords: []string{"dir"}}, true},
		{"no keyword", &v1alpha.ImageFilter{Keywords: []string{"bin"}}, false},
		{"labels", &v1alpha.ImageFilter{Labels: []*v1alpha.KeyValue{pair("os", "linux"), pair("version", "1")}}, true},
		{"one label differs", &v1alpha.ImageFilter{Labels: []*v1alpha.KeyValue{pair("os", "linux"), pair("version", "2")}}, false},
		{"annotation", &v1alpha.ImageFilter{Annotations: []*v1alpha.KeyValue{pair("k", "v")}}, true},
		{"no annotation", &v1alpha.ImageFilter{Annotations: []*v1alpha.KeyValue{pair("os", "linux")}}, false},
		{"after", &v1alpha.ImageFilter{ImportedAfter: 99}, true},
		{"after is strict", &v1alpha.ImageFilter{ImportedAfter: 100}, false},
		{"before", &v1alpha.ImageFilter{ImportedBefore: 101}, true},
		{"before is strict", &v1alpha.ImageFilter{ImportedBefore: 100}, false},
	} {
		if got := anyImageFilter(i, []*v1alpha.ImageFilter{tc.f}); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func TestEventFilters(t *testing.T) {
	e := &v1alpha.Event{Type: 7, Id: "u", From: "app"}
	for _, tc := range []struct {
		f    *v1alpha.EventFilter
		want bool
	}{
		{nil, true},
		{&v1alpha.EventFilter{Types: []v1alpha.EventType{1, 7}, Ids: []string{"u"}, Names: []string{"app"}}, true},
		{&v1alpha.EventFilter{Types: []v1alpha.EventType{1}}, false},
		{&v1alpha.EventFilter{Ids: []string{"v"}}, false},
		{&v1alpha.EventFilter{Names: []string{"u"}}, false},
	} {
		if got := eventPasses(e, tc.f); got != tc.want {
			t.Errorf("%v: %v", tc.f, got)
		}
	}
}

func TestSystemdCgroup(t *testing.T) {
	for file, want := range map[string]string{
		"3:cpu:/c\n1:name=systemd:/s/init.scope\n0::/u\n": "/s/init.scope",
		"0::/u:v\n": "/u:v",
		"":          "", "x\n": "",
	} {
		if got := systemdCgroup(file); got != want {
			t.Errorf("%q: %q", file, got)
		}
	}
}

func TestHub(t *testing.T) {
	h := newHub()
	h.publish([]*v1alpha.Event{{Time: 1}, {Time: 5}})
	past, l := h.listen(5)
	if len(past) != 1 || past[0].GetTime() != 5 {
		t.Errorf("replayed %v", past)
	}
	for range maxWaiting + 1 {
		h.publish([]*v1alpha.Event{{Time: 6}})
	}
	select {
	case <-l.lost:
	default:
		t.Error("a listener that does not read is kept")
	}
	for range maxReplay * 2 {
		h.publish([]*v1alpha.Event{{Time: 7}})
	}
	if len(h.past) > maxReplay {
		t.Errorf("%d events are kept", len(h.past))
	}
	past, l = h.listen(0)
	if len(past) != 0 {
		t.Errorf("replayed %d without since_time", len(past))
	}
	h.leave(l)
}
