// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// CheckApps checks what can be checked of a user-written pod manifest before
// its images are known: each app has an image ID and a name of its own.
func CheckApps(m *appc.PodManifest) error {
	if len(m.Apps) == 0 {
		return ErrNoApps
	}
	seen := map[appc.Name]bool{}
	for _, a := range m.Apps {
		if a.Image.ID == "" {
			return fmt.Errorf("no image ID for app %q", a.Name)
		}
		if seen[a.Name] {
			return fmt.Errorf("multiple apps with same name %s", a.Name)
		}
		seen[a.Name] = true
	}
	return nil
}

// Check checks a user-written pod manifest against its images; images has one
// entry for each app. An app section in the pod manifest wins over the image's.
func Check(m *appc.PodManifest, images []Image) error {
	if err := CheckApps(m); err != nil {
		return err
	}
	if err := checkPodIsolators(m.Isolators); err != nil {
		return err
	}
	for i, a := range m.Apps {
		section := a.App
		if section == nil {
			section = images[i].Manifest.App
		}
		if section == nil {
			return errors.New("no app section in the pod manifest or the image manifest")
		}
		if len(section.Exec) == 0 {
			return emptyExec(images[i].Manifest.Name.String())
		}
		if err := CheckIsolators(a.Name, section); err != nil {
			return err
		}
	}
	return checkPorts(m, images)
}
