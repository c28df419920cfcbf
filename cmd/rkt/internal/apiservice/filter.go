// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"path"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
)

// anyPodFilter tells whether a pod passes one of the filters (services.md 2.4).
func anyPodFilter(p *v1alpha.Pod, filters []*v1alpha.PodFilter) bool {
	return len(filters) == 0 || slices.ContainsFunc(filters, func(f *v1alpha.PodFilter) bool { return podPasses(p, f) })
}

func podPasses(p *v1alpha.Pod, f *v1alpha.PodFilter) bool {
	var apps, images, networks []string
	for _, a := range p.GetApps() {
		apps, images = append(apps, a.GetName()), append(images, a.GetImage().GetId())
	}
	for _, n := range p.GetNetworks() {
		networks = append(networks, n.GetName())
	}
	return oneOf(f.GetIds(), p.GetId()) &&
		(len(f.GetStates()) == 0 || slices.Contains(f.GetStates(), p.GetState())) &&
		containsAll(apps, f.GetAppNames()) &&
		containsAll(images, f.GetImageIds()) &&
		containsAll(networks, f.GetNetworkNames()) &&
		hasPairs(p.GetAnnotations(), f.GetAnnotations()) &&
		oneOf(f.GetCgroups(), p.GetCgroup()) &&
		belowCgroup(f.GetPodSubCgroups(), p.GetCgroup())
}

// belowCgroup tells whether cgroup is a prefix of any of subs.
func belowCgroup(subs []string, cgroup string) bool {
	if len(subs) == 0 {
		return true
	}
	return cgroup != "" && slices.ContainsFunc(subs, func(s string) bool { return strings.HasPrefix(s, cgroup) })
}

// anyImageFilter tells whether an image passes one of the filters.
func anyImageFilter(i *v1alpha.Image, filters []*v1alpha.ImageFilter) bool {
	return len(filters) == 0 || slices.ContainsFunc(filters, func(f *v1alpha.ImageFilter) bool { return imagePasses(i, f) })
}

func imagePasses(i *v1alpha.Image, f *v1alpha.ImageFilter) bool {
	name := i.GetName()
	return oneOf(f.GetIds(), i.GetId()) &&
		oneOf(f.GetFullNames(), name) &&
		oneOf(f.GetBaseNames(), path.Base(name)) &&
		oneMatches(f.GetPrefixes(), func(s string) bool { return strings.HasPrefix(name, s) }) &&
		oneMatches(f.GetKeywords(), func(s string) bool { return strings.Contains(name, s) }) &&
		hasPairs(i.GetLabels(), f.GetLabels()) &&
		hasPairs(i.GetAnnotations(), f.GetAnnotations()) &&
		(f.GetImportedAfter() == 0 || i.GetImportTimestamp() > f.GetImportedAfter()) &&
		(f.GetImportedBefore() == 0 || i.GetImportTimestamp() < f.GetImportedBefore())
}

// eventPasses does not look at times.
func eventPasses(e *v1alpha.Event, f *v1alpha.EventFilter) bool {
	return (len(f.GetTypes()) == 0 || slices.Contains(f.GetTypes(), e.GetType())) &&
		oneOf(f.GetIds(), e.GetId()) && oneOf(f.GetNames(), e.GetFrom())
}

func oneOf(wanted []string, have string) bool {
	return len(wanted) == 0 || slices.Contains(wanted, have)
}

func oneMatches(wanted []string, match func(string) bool) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, match)
}

func containsAll(have, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(have, w) })
}

func hasPairs(have, wanted []*v1alpha.KeyValue) bool {
	return !slices.ContainsFunc(wanted, func(w *v1alpha.KeyValue) bool {
		return !slices.ContainsFunc(have, func(h *v1alpha.KeyValue) bool {
			return h.GetKey() == w.GetKey() && h.GetValue() == w.GetValue()
		})
	})
}
