// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// ListPods tells of all pods that pass a filter, ordered by UUID.
func (s *Server) ListPods(ctx context.Context, req *v1alpha.ListPodsRequest) (*v1alpha.ListPodsResponse, error) {
	var mu sync.Mutex
	var pods []*v1alpha.Pod
	add := func(p *v1alpha.Pod) {
		if anyPodFilter(p, req.GetFilters()) {
			mu.Lock()
			defer mu.Unlock()
			pods = append(pods, p)
		}
	}
	err := pod.Observe(ctx, s.c.DataDir, pod.ListedDirs(),
		func(p *pod.Pod) {
			if t := tellPod(p, req.GetDetail()); t != nil {
				add(t)
			}
		},
		func(uuid poddir.UUID, _ error) { add(&v1alpha.Pod{Id: uuid.String(), Pid: -1}) })
	if err != nil {
		return nil, asStatus(err)
	}
	slices.SortFunc(pods, func(a, b *v1alpha.Pod) int { return cmp.Compare(a.GetId(), b.GetId()) })
	return &v1alpha.ListPodsResponse{Pods: pods}, nil
}

// InspectPod tells everything of one pod.
func (s *Server) InspectPod(ctx context.Context, req *v1alpha.InspectPodRequest) (*v1alpha.InspectPodResponse, error) {
	p, err := s.openPod(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.Close() }()
	t := tellPod(p, true)
	if t == nil {
		return nil, status.Errorf(codes.NotFound, "no such pod with ID %q", req.GetId())
	}
	return &v1alpha.InspectPodResponse{Pod: t}, nil
}

func (s *Server) openPod(ctx context.Context, id string) (*pod.Pod, error) {
	uuid, err := poddir.ParseUUID(id)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "invalid pod ID %q", clip(id))
	}
	p, err := pod.Open(ctx, s.c.DataDir, uuid)
	if errors.Is(err, pod.ErrNotPresent) {
		return nil, status.Errorf(codes.NotFound, "no such pod with ID %q", id)
	}
	if err != nil {
		return nil, asStatus(err)
	}
	return p, nil
}

// podState maps states (services.md 2.3).
func podState(s pod.State) v1alpha.PodState {
	switch s {
	case pod.Embryo:
		return v1alpha.PodState_POD_STATE_EMBRYO
	case pod.Preparing:
		return v1alpha.PodState_POD_STATE_PREPARING
	case pod.AbortedPrepare:
		return v1alpha.PodState_POD_STATE_ABORTED_PREPARE
	case pod.Prepared:
		return v1alpha.PodState_POD_STATE_PREPARED
	case pod.Running:
		return v1alpha.PodState_POD_STATE_RUNNING
	case pod.Exited:
		return v1alpha.PodState_POD_STATE_EXITED
	case pod.Deleting, pod.ExitedDeleting:
		return v1alpha.PodState_POD_STATE_DELETING
	case pod.Garbage, pod.ExitedGarbage:
		return v1alpha.PodState_POD_STATE_GARBAGE
	}
	return v1alpha.PodState_POD_STATE_UNDEFINED
}

// tellPod tells what is known of a pod; nil if it is gone.
func tellPod(p *pod.Pod, detail bool) *v1alpha.Pod {
	in := p.Info()
	if in.Err != nil && errors.Is(in.Err, os.ErrNotExist) { // is it being deleted under our eyes?
		if err := p.Refresh(); err == nil {
			in.State = p.State()
		}
	}
	if in.State == pod.Gone {
		return nil
	}
	t := &v1alpha.Pod{Id: in.UUID.String(), State: podState(in.State)}
	if in.State == pod.Embryo {
		return t
	}
	t.Pid = -1
	if in.PID > 0 && int64(in.PID) == int64(int32(in.PID)) {
		t.Pid = int32(in.PID)
	}
	t.CreatedAt, t.StartedAt, t.GcMarkedAt = nanoseconds(in.Created), nanoseconds(in.Started), nanoseconds(in.Marked)
	if in.State == pod.Running || in.State == pod.Exited {
		t.Networks = tellNetworks(in.Networks)
	}
	if in.State == pod.Running {
		t.Cgroup = podCgroup(p, in.PID)
	}
	var parts manifestParts
	raw, err := p.RawManifest()
	if err == nil && json.Unmarshal(raw, &parts) == nil {
		t.Annotations = annotations(parts.Annotations)
	}
	if detail && err == nil {
		t.Manifest = compactManifest(p, raw)
	}
	for i := range in.Apps {
		app := tellApp(&in, &in.Apps[i], neverRan(&in))
		if i < len(parts.Apps) && parts.Apps[i].Name == in.Apps[i].Name {
			app.Annotations = annotations(parts.Apps[i].Annotations)
		}
		t.Apps = append(t.Apps, app)
	}
	return t
}

// manifestParts is what Info does not have of a pod manifest.
type manifestParts struct {
	Annotations appc.Annotations `json:"annotations"`
	Apps        []struct {
		Name        string           `json:"name"`
		Annotations appc.Annotations `json:"annotations"`
	} `json:"apps"`
}

// compactManifest is what `rkt cat-manifest` prints, compact; of a manifest
// that makes no sense, what there is.
func compactManifest(p *pod.Pod, raw []byte) []byte {
	if m, err := p.Manifest(); err == nil {
		if data, err := m.Marshal(); err == nil {
			return data
		}
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return raw
	}
	return b.Bytes()
}

// neverRan is also true of what was thrown away before it was started.
func neverRan(in *pod.Info) bool {
	if in.State == pod.Garbage || in.State == pod.Deleting {
		return in.Started.IsZero()
	}
	return !in.State.HasStarted()
}

func tellApp(in *pod.Info, a *pod.AppInfo, neverRan bool) *v1alpha.App {
	t := &v1alpha.App{Name: valid(a.Name), Image: &v1alpha.Image{
		BaseFormat: appcFormat(), Id: valid(a.ImageID), Name: valid(a.ImageName), Version: valid(cmp.Or(a.ImageVersion, defaultVersion)),
	}}
	switch {
	case in.State == pod.Running:
		t.State = v1alpha.AppState_APP_STATE_RUNNING
	case in.State.IsAfterRun():
		t.State = v1alpha.AppState_APP_STATE_EXITED
	}
	switch {
	case neverRan:
		t.ExitCode = -1
	case a.ExitCode != nil:
		t.ExitCode = int32(*a.ExitCode) //nolint:gosec // an exit status; what a pod writes beyond is cut
	}
	return t
}

func tellNetworks(nets []pod.Network) []*v1alpha.Network {
	var out []*v1alpha.Network
	for _, n := range nets {
		t := &v1alpha.Network{Name: valid(n.Name), Ipv4: valid(n.IP)}
		for _, ip := range n.IPs {
			if p, err := netip.ParsePrefix(ip); err == nil && p.Addr().Is6() {
				t.Ipv6 = p.Addr().String()
				break
			}
		}
		out = append(out, t)
	}
	return out
}

// podCgroup is the cgroup of a running pod: the recorded one, else that of its
// first process.
func podCgroup(p *pod.Pod, pid int) string {
	if sub, err := p.Subcgroup(); err == nil && sub != "" {
		return "/" + strings.TrimPrefix(valid(sub), "/")
	}
	if pid <= 0 {
		return ""
	}
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return ""
	}
	return valid(strings.TrimSuffix(systemdCgroup(string(data)), "/init.scope"))
}

// systemdCgroup picks the path in the hierarchy of systemd, else the unified
// one, from a file as cgroups(7) describes it.
func systemdCgroup(file string) string {
	unified := ""
	for line := range strings.Lines(file) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(parts) != 3:
		case parts[1] == "name=systemd":
			return parts[2]
		case parts[0] == "0" && parts[1] == "":
			unified = parts[2]
		}
	}
	return unified
}

func annotations(list appc.Annotations) []*v1alpha.KeyValue {
	var out []*v1alpha.KeyValue
	for _, a := range list {
		out = append(out, &v1alpha.KeyValue{Key: valid(string(a.Name)), Value: valid(a.Value)})
	}
	return out
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// valid makes a string that protobuf can carry of one that a pod has written.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// clip keeps what is repeated of a request short.
func clip(s string) string { return s[:min(len(s), 200)] }
