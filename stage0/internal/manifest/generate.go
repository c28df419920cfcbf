// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/isolator"
)

// Config is what applies to the whole pod.
type Config struct {
	Version    string // of rkt, becomes acVersion
	UID, GID   int    // of the rkt process, for images without app section
	Volumes    []appc.Volume
	Mounts     []appc.Mount // of all apps
	Ports      []appc.ExposedPort
	InheritEnv []string         // NAME=VALUE, nil without --inherit-env
	SetEnvFile appc.Environment // of all apps
	SetEnv     appc.Environment // of all apps
	Isolators  appc.Isolators   // of the pod

	Mutable         bool
	Annotations     appc.Annotations
	UserAnnotations map[string]string
	UserLabels      map[string]string
}

// Generate makes the pod manifest of apps; images has one entry for each of them.
func Generate(c Config, apps []App, images []Image) (*appc.PodManifest, error) {
	m := &appc.PodManifest{
		ACVersion:       c.Version,
		ACKind:          "PodManifest",
		Apps:            make([]appc.RuntimeApp, 0, len(apps)),
		Volumes:         c.Volumes,
		Isolators:       c.Isolators,
		Annotations:     c.podAnnotations(),
		Ports:           append([]appc.ExposedPort{}, c.Ports...),
		UserAnnotations: c.UserAnnotations,
		UserLabels:      c.UserLabels,
	}
	if len(m.Volumes) == 0 {
		m.Volumes = nil
	}
	if err := checkPodIsolators(m.Isolators); err != nil {
		return nil, err
	}
	seen := map[appc.Name]bool{}
	for i := range apps {
		ra, err := c.runtimeApp(&apps[i], images[i])
		if err != nil {
			return nil, err
		}
		if seen[ra.Name] {
			return nil, &MultipleAppsError{ra.Name}
		}
		seen[ra.Name] = true
		if err := CheckIsolators(ra.Name, ra.App); err != nil {
			return nil, err
		}
		m.Apps = append(m.Apps, ra)
	}
	if err := checkPorts(m, images); err != nil {
		return nil, err
	}
	if err := checkText(reflect.ValueOf(m)); err != nil {
		return nil, fmt.Errorf("pod manifest: %w", err)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("pod manifest: %w", err)
	}
	return m, nil
}

// podAnnotations puts rkt's own annotation first; it cannot be overridden.
func (c *Config) podAnnotations() appc.Annotations {
	value := "false"
	if c.Mutable {
		value = "true"
	}
	out := appc.Annotations{{Name: entrypoint.MutableAnnotation, Value: value}}
	for _, a := range c.Annotations {
		if a.Name != entrypoint.MutableAnnotation {
			out.Set(a.Name, a.Value)
		}
	}
	return out
}

// CheckIsolators refuses what no stage1 could apply: an isolator nobody knows
// would otherwise silently not isolate.
func CheckIsolators(app appc.Name, section *appc.App) error {
	if section == nil {
		return nil
	}
	if err := checkKnown(section.Isolators); err != nil {
		return fmt.Errorf("app %q: %w", app, err)
	}
	return nil
}

func checkKnown(isolators appc.Isolators) error {
	unknown := isolators.Unknown()
	if len(unknown) == 0 {
		return nil
	}
	names := make([]string, len(unknown))
	for i, n := range unknown {
		names[i] = fmt.Sprintf("%q", n)
	}
	return fmt.Errorf("unknown isolator %s: rkt cannot enforce it", strings.Join(names, ", "))
}

// checkPodIsolators refuses isolators of the pod itself that nobody knows, or
// that do not count for a pod.
func checkPodIsolators(isolators appc.Isolators) error {
	if err := checkKnown(isolators); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	_, err := isolator.ParsePod(isolators)
	return err
}

// CheckLabels refuses images whose programs rkt cannot run.
func CheckLabels(labels appc.Labels) error {
	os, ok := labels.Get("os")
	if !ok {
		return errors.New("missing os label in the image manifest")
	}
	arch, ok := labels.Get("arch")
	if !ok {
		return errors.New("missing arch label in the image manifest")
	}
	return appc.RunnableOSArch(os, arch)
}
