// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Add returns the manifest of a mutable pod with one more app; m stays as it
// is. The volumes of the app's mounts are those of the pod and those that the
// mounts themselves carry.
func Add(c Config, m *appc.PodManifest, a App, img Image) (*appc.PodManifest, error) {
	ra, err := c.runtimeApp(&a, img)
	if err != nil {
		return nil, err
	}
	if err := checkName(m, ra.Name); err != nil {
		return nil, err
	}
	if err := CheckIsolators(ra.Name, ra.App); err != nil {
		return nil, err
	}
	if ra.Mounts, err = ownVolumes(ra.Name, ra.Mounts, m); err != nil {
		return nil, err
	}
	out := *m
	out.Apps = append(slices.Clone(m.Apps), ra)
	if err := out.Validate(); err != nil {
		return nil, fmt.Errorf("pod manifest: %w", err)
	}
	return &out, nil
}

// Without returns the manifest of a mutable pod less one app; m stays as it is.
func Without(m *appc.PodManifest, app appc.Name) *appc.PodManifest {
	out := *m
	out.Apps = slices.DeleteFunc(slices.Clone(m.Apps), func(a appc.RuntimeApp) bool { return a.Name == app })
	return &out
}

// Find returns the app of that name, nil if there is none.
func Find(m *appc.PodManifest, app appc.Name) *appc.RuntimeApp {
	for i := range m.Apps {
		if m.Apps[i].Name == app {
			return &m.Apps[i]
		}
	}
	return nil
}

// checkName refuses a name that is taken, and one under which files of two apps
// would be the same: beside the status of an app lie its markers.
func checkName(m *appc.PodManifest, name appc.Name) error {
	for _, other := range m.Apps {
		if other.Name == name {
			return &MultipleAppsError{name}
		}
		for _, marker := range []appc.Name{"-created", "-started"} {
			if name == other.Name+marker || other.Name == name+marker {
				return fmt.Errorf("app name %q: its status would be a marker of app %q, or the other way round (try --name=NAME)", name, other.Name)
			}
		}
	}
	return nil
}

// MultipleAppsError says that the name of an app is taken.
type MultipleAppsError struct{ Name appc.Name }

func (e *MultipleAppsError) Error() string {
	return fmt.Sprintf("error: multiple apps with name %s", e.Name)
}

// ownVolumes pairs the mounts of an app with volumes. An empty volume that a
// mount carries gets a name of the app's own: its directory in the pod is called
// so, and no other app shall have it.
func ownVolumes(app appc.Name, mounts []appc.Mount, m *appc.PodManifest) ([]appc.Mount, error) {
	taken := volumeNames(m)
	own := map[appc.Name]*appc.Volume{}
	for _, mount := range mounts {
		if mount.AppVolume == nil {
			continue
		}
		if own[mount.Volume] != nil {
			return nil, fmt.Errorf("duplicate volume name %q", mount.Volume)
		}
		v := *mount.AppVolume
		if v.Kind == appc.EmptyVolume {
			v.Name = app + "-" + v.Name
			if taken[v.Name] {
				return nil, fmt.Errorf("volume %q of app %q: the pod has a volume %q", mount.Volume, app, v.Name)
			}
		}
		own[mount.Volume] = &v
	}
	out := slices.Clone(mounts)
	for i, mount := range out {
		out[i].AppVolume = own[mount.Volume]
		if own[mount.Volume] == nil && !slices.ContainsFunc(m.Volumes, func(v appc.Volume) bool { return v.Name == mount.Volume }) {
			return nil, fmt.Errorf("dangling mount point %q: volume %q not found", mount.Path, mount.Volume)
		}
	}
	return out, nil
}

// volumeNames are the names of the pod's volumes and of those that only one app has.
func volumeNames(m *appc.PodManifest) map[appc.Name]bool {
	names := map[appc.Name]bool{}
	for _, v := range m.Volumes {
		names[v.Name] = true
	}
	for _, a := range m.Apps {
		for _, mount := range a.Mounts {
			if mount.AppVolume != nil {
				names[mount.AppVolume.Name] = true
			}
		}
	}
	return names
}
