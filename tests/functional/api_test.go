// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// startAPI starts the service on a socket of its own.
func startAPI(t *testing.T, h *harness.Host, change func(p *syscall.SysProcAttr)) (v1alpha.PublicAPIClient, func(os.Signal) int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "rkt-api-") //nolint:usetesting // short: a path of a socket has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(dir, "s")
	var stderr strings.Builder
	cmd := h.Cmd(context.Background(), "api-service", "--listen=unix://"+sock)
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if change != nil {
		change(cmd.SysProcAttr)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end := func(s os.Signal) int {
		if !ended {
			ended = true
			_ = cmd.Process.Signal(s)
			_ = cmd.Wait()
			want := "API service starting...\nListening on unix://" + sock + "\nAPI service running\nAPI service exiting...\n"
			if got := stderr.String(); s == syscall.SIGTERM && got != want {
				t.Errorf("stderr %q, want %q", got, want)
			}
		}
		return cmd.ProcessState.ExitCode()
	}
	t.Cleanup(func() {
		end(os.Kill)
		if t.Failed() {
			t.Logf("stderr of the service:\n%s", stderr.String())
		}
	})
	if !harness.WaitFor(20*time.Second, func() bool { _, err := os.Stat(sock); return err == nil }) {
		t.Fatal("no socket")
	}
	conn, err := grpc.NewClient("unix://"+sock, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return v1alpha.NewPublicAPIClient(conn), end
}

func apiContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestAPITellsWhatRktPrints compares every call with what commands say.
func TestAPITellsWhatRktPrints(t *testing.T) {
	for _, flavor := range harness.Flavors("coreos", "fly") {
		t.Run(flavor, func(t *testing.T) { testAPI(t, flavor) })
	}
}

func testAPI(t *testing.T, flavor string) {
	testenv.NeedsRoot(t)
	h := harness.NewHost(t)
	h.Stage1 = "coreos.com/rkt/stage1-" + flavor
	image := h.Fetch(harness.Busybox(t, nil))
	api, end := startAPI(t, h, nil)
	ctx := apiContext(t)

	info, err := api.GetInfo(ctx, &v1alpha.GetInfoRequest{})
	if err != nil || info.GetInfo().GetApiVersion() != "1.0.0-alpha" || info.GetInfo().GetGlobalFlags().GetDir() != h.Dir ||
		info.GetInfo().GetGlobalFlags().GetInsecureFlags() != "image" || info.GetInfo().GetGlobalFlags().GetLocalConfigDir() != h.LocalConfig() {
		t.Errorf("GetInfo: %v, %v", info, err)
	}
	pods, err := api.ListPods(ctx, &v1alpha.ListPodsRequest{})
	if err != nil || len(pods.GetPods()) != 0 {
		t.Errorf("without pods: %v, %v", pods, err)
	}
	events, err := api.ListenEvents(ctx, &v1alpha.ListenEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.Header(); err != nil {
		t.Fatal(err)
	}
	began := time.Now().Unix()
	p := h.Start(sh(image, "trap 'exit 0' 15; echo ready; echo second; while :; do sleep 0.1; done")...)
	p.WaitContains("ready")
	uuid := h.Pods()[0]
	run := inspect(ctx, t, api, uuid)
	comparePod(t, h, run, uuid)
	if run.GetState() != v1alpha.PodState_POD_STATE_RUNNING || len(run.GetApps()) != 1 || run.GetApps()[0].GetState() != v1alpha.AppState_APP_STATE_RUNNING ||
		run.GetCgroup() == "" {
		t.Errorf("running: %v", run)
	}
	list, err := api.ListPods(ctx, &v1alpha.ListPodsRequest{Filters: []*v1alpha.PodFilter{{PodSubCgroups: []string{run.GetCgroup() + "/x"}}}})
	if err != nil || len(list.GetPods()) != 1 || list.GetPods()[0].GetManifest() != nil {
		t.Errorf("by cgroup: %v, %v", list, err)
	}
	p.Signal(syscall.SIGTERM)
	p.Wait()
	code := int32(5)
	if flavor == "fly" { // nobody is left to record it
		code = 0
	}
	r := h.Run(sh(image, "echo only words; exit 5")...)
	if r.Status != 5 {
		t.Fatal(r)
	}
	for _, id := range h.Pods() {
		comparePod(t, h, inspect(ctx, t, api, id), id)
		if id == uuid {
			continue
		}
		pod := inspect(ctx, t, api, id)
		if pod.GetState() != v1alpha.PodState_POD_STATE_EXITED || pod.GetApps()[0].GetExitCode() != code {
			t.Errorf("exited: %v", pod)
		}
		wantEvents(t, events, id, code)
		wantLogs(ctx, t, api, flavor, id)
	}
	replayEvents(ctx, t, api, began, uuid)
	compareImages(ctx, t, api, h)
	garble(ctx, t, api, h)
	if status := end(syscall.SIGTERM); status != 0 {
		t.Errorf("SIGTERM: exit status %d", status)
	}
}

func inspect(ctx context.Context, t *testing.T, api v1alpha.PublicAPIClient, uuid string) *v1alpha.Pod {
	t.Helper()
	r, err := api.InspectPod(ctx, &v1alpha.InspectPodRequest{Id: uuid})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetPod()
}

func comparePod(t *testing.T, h *harness.Host, pod *v1alpha.Pod, uuid string) {
	t.Helper()
	var want struct {
		State     string `json:"state"`
		PID       *int32 `json:"pid"`
		CreatedAt int64  `json:"created_at"`
		StartedAt int64  `json:"started_at"`
	}
	if err := json.Unmarshal([]byte(h.OK("status", "--format=json", uuid)), &want); err != nil {
		t.Fatal(err)
	}
	state := strings.ToLower(strings.TrimPrefix(pod.GetState().String(), "POD_STATE_"))
	status := h.Status(uuid)
	if state != status["state"] || fmt.Sprint(pod.GetPid()) != status["pid"] {
		t.Errorf("pod %v, status %v", pod, status)
	}
	if m := h.OK("cat-manifest", "--pretty-print=false", uuid); string(pod.GetManifest())+"\n" != m {
		t.Errorf("manifest %s, cat-manifest %s", pod.GetManifest(), m)
	}
	if pod.GetCreatedAt()/1e6 != want.CreatedAt/1e6 && pod.GetCreatedAt()/1e9 != want.CreatedAt ||
		pod.GetStartedAt()/1e6 != want.StartedAt/1e6 && pod.GetStartedAt()/1e9 != want.StartedAt {
		t.Errorf("times %d, %d, status says %+v", pod.GetCreatedAt(), pod.GetStartedAt(), want)
	}
}

// wantEvents reads until the pod has exited.
func wantEvents(t *testing.T, stream grpc.ServerStreamingClient[v1alpha.ListenEventsResponse], uuid string, code int32) {
	t.Helper()
	var got []string
	for {
		r, err := stream.Recv()
		if err != nil {
			t.Fatalf("events %q: %v", got, err)
		}
		e := r.GetEvents()[0]
		if e.GetId() != uuid {
			continue
		}
		line := strings.TrimPrefix(e.GetType().String(), "EVENT_TYPE_")
		for _, d := range e.GetData() {
			line += " " + d.GetKey() + "=" + d.GetValue()
		}
		got = append(got, line)
		if e.GetType() == v1alpha.EventType_EVENT_TYPE_POD_EXITED {
			break
		}
	}
	if want := fmt.Sprintf("POD_STARTED|APP_STARTED|APP_EXITED exit-code=%d|POD_EXITED", code); strings.Join(got, "|") != want {
		t.Errorf("events %q", got)
	}
}

func replayEvents(ctx context.Context, t *testing.T, api v1alpha.PublicAPIClient, since int64, uuid string) {
	t.Helper()
	s, err := api.ListenEvents(ctx, &v1alpha.ListenEventsRequest{Filter: &v1alpha.EventFilter{
		Ids: []string{uuid}, SinceTime: since, UntilTime: time.Now().Unix(), Types: []v1alpha.EventType{v1alpha.EventType_EVENT_TYPE_POD_STARTED},
	}})
	n := 0
	for err == nil {
		if _, err = s.Recv(); err == nil {
			n++
		}
	}
	if !errors.Is(err, io.EOF) || n != 1 {
		t.Errorf("%d events replayed: %v", n, err)
	}
}

func wantLogs(ctx context.Context, t *testing.T, api v1alpha.PublicAPIClient, flavor, uuid string) {
	t.Helper()
	s, err := api.GetLogs(ctx, &v1alpha.GetLogsRequest{PodId: uuid, AppName: "busybox", Lines: 1, Follow: true})
	var lines []string
	for err == nil {
		var r *v1alpha.GetLogsResponse
		if r, err = s.Recv(); err == nil {
			lines = append(lines, r.GetLines()...)
		}
	}
	if flavor == "fly" {
		if want := fmt.Sprintf("logging unsupported for pod %q", uuid); !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		return
	}
	if !errors.Is(err, io.EOF) || len(lines) != 1 || !strings.HasSuffix(lines[0], " only words") {
		t.Errorf("logs %q, %v", lines, err)
	}
}

func compareImages(ctx context.Context, t *testing.T, api v1alpha.PublicAPIClient, h *harness.Host) {
	t.Helper()
	r, err := api.ListImages(ctx, &v1alpha.ListImagesRequest{Detail: true})
	if err != nil {
		t.Fatal(err)
	}
	var want []struct {
		ID   string `json:"id"`
		Size int64  `json:"size"`
	}
	if err := json.Unmarshal([]byte(h.OK("image", "list", "--format=json")), &want); err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int64{}
	for _, w := range want {
		sizes[w.ID] = w.Size
	}
	if len(r.GetImages()) != len(want) || len(want) < 2 {
		t.Errorf("%d images, image list has %d", len(r.GetImages()), len(want))
	}
	for _, i := range r.GetImages() {
		if i.GetSize() != sizes[i.GetId()] {
			t.Errorf("size of %s %d, image list says %d", i.GetId(), i.GetSize(), sizes[i.GetId()])
		}
		if m := h.OK("image", "cat-manifest", "--pretty-print=false", i.GetId()); string(i.GetManifest())+"\n" != m {
			t.Errorf("manifest %s, cat-manifest %s", i.GetManifest(), m)
		}
	}
	if _, err := api.InspectImage(ctx, &v1alpha.InspectImageRequest{Id: "sha512-00"}); err == nil || !strings.Contains(err.Error(), `no such image with ID "sha512-00"`) {
		t.Errorf("unknown image: %v", err)
	}
}

// garble: pods whose files are gone or make no sense are still listed.
func garble(ctx context.Context, t *testing.T, api v1alpha.PublicAPIClient, h *harness.Host) {
	t.Helper()
	ids := h.Pods()
	for i, name := range []string{"pod", "appsinfo"} {
		if err := os.RemoveAll(filepath.Join(h.PodDir(ids[i]), name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(h.PodDir(ids[0]), "pod"), []byte("{\xff"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := api.ListPods(ctx, &v1alpha.ListPodsRequest{Detail: true})
	if err != nil || len(r.GetPods()) != len(ids) {
		t.Errorf("garbled pods: %v, %v", r, err)
	}
}

// TestAPIWithoutRights: a member of a group that may read, and no more, and an
// end by SIGKILL that no pod notices.
func TestAPIWithoutRights(t *testing.T) {
	testenv.NeedsRoot(t)
	flavors := harness.Flavors("coreos", "fly")
	if len(flavors) == 0 {
		t.Skip("RKT_TEST_FLAVORS leaves these flavors out")
	}
	top, err := os.MkdirTemp("", "rkt-api-data-") //nolint:usetesting // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	const gid = 64123
	data := filepath.Join(top, "data")
	layout(t, data, gid)
	h := harness.NewHostOn(t, data)
	h.Stage1 = "coreos.com/rkt/stage1-" + flavors[0]
	image := h.Fetch(harness.Busybox(t, nil))
	p := h.Start(sh(image, "trap 'exit 0' 15; echo ready; while :; do sleep 0.1; done")...)
	p.WaitContains("ready")
	bin := filepath.Join(top, "rkt")
	program, err := os.ReadFile(h.Bin)
	if err == nil {
		err = os.WriteFile(bin, program, 0o755) //nolint:gosec // a program
	}
	if err != nil {
		t.Fatal(err)
	}
	service := *h
	service.Bin = bin
	api, end := startAPI(t, &service, func(a *syscall.SysProcAttr) {
		a.Credential = &syscall.Credential{Uid: 64124, Gid: gid, NoSetGroups: false}
	})
	ctx := apiContext(t)
	uuid := h.Pods()[0]
	comparePod(t, h, inspect(ctx, t, api, uuid), uuid)
	images, err := api.ListImages(ctx, &v1alpha.ListImagesRequest{})
	if err != nil || len(images.GetImages()) < 2 {
		t.Errorf("images: %v, %v", images, err)
	}
	end(os.Kill)
	if s := h.Status(uuid)["state"]; s != "running" {
		t.Errorf("after the service was killed the pod is %s", s)
	}
	p.Signal(syscall.SIGTERM)
	p.Wait()
}

// layout makes the directories of packaging.md 4.
func layout(t *testing.T, data string, gid int) {
	t.Helper()
	for _, d := range []struct {
		name string
		mode uint32
	}{
		{"", 0o2750},
		{"tmp", 0o2750},
		{"cas", 0o2770},
		{"cas/db", 0o2770},
		{"cas/imagelocks", 0o2770},
		{"cas/imageManifest", 0o2770},
		{"cas/blob", 0o2770},
		{"cas/tmp", 0o2770},
		{"cas/tree", 0o2700},
		{"cas/treestorelocks", 0o2700},
		{"locks", 0o2750},
		{"pods", 0o2750},
		{"pods/embryo", 0o2750},
		{"pods/prepare", 0o2750},
		{"pods/prepared", 0o2750},
		{"pods/run", 0o2750},
		{"pods/exited-garbage", 0o2750},
		{"pods/garbage", 0o2750},
	} {
		path := filepath.Join(data, d.name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 0, gid); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Chmod(path, d.mode); err != nil {
			t.Fatal(err)
		}
	}
}
