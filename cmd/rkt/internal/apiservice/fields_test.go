// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/pkg/pod"
)

// TestStates: what is told of pods and their apps in every state (services.md 2.3).
func TestStates(t *testing.T) {
	const (
		undefined = v1alpha.AppState_APP_STATE_UNDEFINED
		running   = v1alpha.AppState_APP_STATE_RUNNING
		exited    = v1alpha.AppState_APP_STATE_EXITED
	)
	three := 3
	began := time.Unix(1, 0)
	for _, x := range []struct {
		state   pod.State
		started time.Time
		code    *int
		want    v1alpha.PodState
		app     v1alpha.AppState
		exit    int32
	}{
		{pod.Preparing, time.Time{}, nil, v1alpha.PodState_POD_STATE_PREPARING, undefined, -1},
		{pod.AbortedPrepare, time.Time{}, nil, v1alpha.PodState_POD_STATE_ABORTED_PREPARE, undefined, -1},
		{pod.Prepared, time.Time{}, nil, v1alpha.PodState_POD_STATE_PREPARED, undefined, -1},
		{pod.Running, began, nil, v1alpha.PodState_POD_STATE_RUNNING, running, 0},
		{pod.Running, began, &three, v1alpha.PodState_POD_STATE_RUNNING, running, 3},
		{pod.Exited, began, &three, v1alpha.PodState_POD_STATE_EXITED, exited, 3},
		{pod.Exited, began, nil, v1alpha.PodState_POD_STATE_EXITED, exited, 0},
		{pod.ExitedGarbage, began, &three, v1alpha.PodState_POD_STATE_GARBAGE, exited, 3},
		{pod.ExitedDeleting, began, &three, v1alpha.PodState_POD_STATE_DELETING, exited, 3},
		{pod.Deleting, time.Time{}, nil, v1alpha.PodState_POD_STATE_DELETING, exited, -1},
	} {
		in := pod.Info{State: x.state, Started: x.started}
		app := tellApp(&in, &pod.AppInfo{Name: "a\xff", ImageID: "sha512-1", ExitCode: x.code}, neverRan(&in))
		if got := podState(x.state); got != x.want {
			t.Errorf("%s: %s", x.state, got)
		}
		if app.GetState() != x.app || app.GetExitCode() != x.exit || app.GetName() != "a\uFFFD" || app.GetImage().GetVersion() != "latest" {
			t.Errorf("%s: %v, want %s %d", x.state, app, x.app, x.exit)
		}
	}
	if got := podState(pod.Embryo); got != v1alpha.PodState_POD_STATE_EMBRYO {
		t.Error(got)
	}
}

func TestNetworks(t *testing.T) {
	got := tellNetworks([]pod.Network{{Name: "a", IP: "10.1.2.3", IPs: []string{"10.1.2.3/24", "fd00::7/64", "fd00::8/64"}}, {Name: "b", IPs: []string{"nonsense"}}})
	if len(got) != 2 || got[0].GetName() != "a" || got[0].GetIpv4() != "10.1.2.3" || got[0].GetIpv6() != "fd00::7" || got[1].GetIpv6() != "" {
		t.Errorf("%v", got)
	}
}
