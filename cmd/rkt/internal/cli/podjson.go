// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/explain"
	"github.com/rkt/rkt/v2/pkg/pod"
)

// podJSON is a pod in `list` and `status`. Pod times are seconds, app times
// nanoseconds since the epoch.
type podJSON struct {
	UUID            string            `json:"name"`
	State           string            `json:"state"`
	Networks        []pod.Network     `json:"networks,omitempty"`
	AppNames        []string          `json:"app_names,omitempty"`
	Apps            []appJSON         `json:"apps,omitempty"`
	CreatedAt       int64             `json:"created_at,omitempty"`
	StartedAt       int64             `json:"started_at,omitempty"`
	UserAnnotations map[string]string `json:"user_annotations,omitempty"`
	UserLabels      map[string]string `json:"user_labels,omitempty"`
}

type appJSON struct {
	Name            string            `json:"name"`
	State           string            `json:"state"`
	CreatedAt       int64             `json:"created_at,omitempty"`
	StartedAt       int64             `json:"started_at,omitempty"`
	FinishedAt      int64             `json:"finished_at,omitempty"`
	ExitCode        *int              `json:"exit_code,omitempty"`
	Signal          int               `json:"signal,omitempty"`
	CoreDumped      bool              `json:"core_dumped,omitempty"`
	OOMKilled       bool              `json:"oom_killed,omitempty"`
	ImageID         string            `json:"image_id"`
	Mounts          []mountJSON       `json:"mounts,omitempty"`
	UserAnnotations map[string]string `json:"user_annotations,omitempty"`
	UserLabels      map[string]string `json:"user_labels,omitempty"`
	// Verification is how the origin of the image was checked; of status alone.
	Verification *explain.Verification `json:"verification,omitempty"`
}

type mountJSON struct {
	Name          string `json:"name"`
	ContainerPath string `json:"container_path"`
	HostPath      string `json:"host_path"`
	ReadOnly      bool   `json:"read_only"`
}

func newPodJSON(in *pod.Info) podJSON {
	out := podJSON{
		UUID:            string(in.UUID),
		State:           string(in.State),
		Networks:        in.Networks,
		CreatedAt:       seconds(in.Created),
		StartedAt:       seconds(in.Started),
		UserAnnotations: in.UserAnnotations,
		UserLabels:      in.UserLabels,
	}
	for _, app := range in.Apps {
		out.AppNames = append(out.AppNames, app.Name)
		out.Apps = append(out.Apps, newAppJSON(app))
	}
	return out
}

func newAppJSON(app pod.AppInfo) appJSON {
	out := appJSON{
		Name:            app.Name,
		State:           string(app.State),
		CreatedAt:       nanoseconds(app.Created),
		StartedAt:       nanoseconds(app.Started),
		FinishedAt:      nanoseconds(app.Finished),
		ExitCode:        app.ExitCode,
		Signal:          app.Signal,
		CoreDumped:      app.CoreDumped,
		OOMKilled:       app.OOMKilled,
		ImageID:         app.ImageID,
		UserAnnotations: app.UserAnnotations,
		UserLabels:      app.UserLabels,
	}
	for _, m := range app.Mounts {
		out.Mounts = append(out.Mounts, mountJSON(m))
	}
	return out
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// networkList is the column of networks: IPv4 addresses as rkt 1.30 has them,
// and an IPv6 address where there is no other.
func networkList(networks []pod.Network) string {
	words := make([]string, len(networks))
	for i, n := range networks {
		words[i] = n.Name + ":ip4=" + n.IP
		if n.IP == "" && len(n.IPs) > 0 {
			address, _, _ := strings.Cut(n.IPs[0], "/")
			words[i] = n.Name + ":ip6=" + address
		}
	}
	return strings.Join(words, ", ")
}
