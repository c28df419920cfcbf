// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/mds"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

const (
	uuidA = poddir.UUID("11111111-2222-4333-8444-555555555555")
	uuidB = poddir.UUID("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")

	imageManifest = `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/web","labels":[{"name":"version","value":"1"}],` +
		`"app":{"exec":["/bin/web"],"user":"0","group":"0"},` +
		`"annotations":[{"name":"of-image","value":"image"},{"name":"both","value":"image"}]}`
	imageID = "sha512-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// podJSON is a pod manifest as a person writes it: without an app section.
const podJSON = `{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{"name":"web","image":{"id":"` + imageID + `"},` +
	`"annotations":[{"name":"both","value":"pod"},{"name":"added","value":"of the pod"}]}],` +
	`"volumes":null,"isolators":null,"annotations":[{"name":"example.com/a/b","value":"v äöü"}],"ports":null}`

// podOnDisk makes the directory of a pod that runs: this process holds its lock.
func podOnDisk(t *testing.T, data string, uuid poddir.UUID) *lock.Lock {
	t.Helper()
	dir := filepath.Join(data, poddir.Pods, poddir.Run, string(uuid))
	for path, body := range map[string]string{
		poddir.PodManifest: podJSON, poddir.AppInfoManifest("web"): imageManifest,
	} {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := lock.TryTake(dir, lock.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func openPod(t *testing.T, data string, uuid poddir.UUID) *pod.Pod {
	t.Helper()
	p, err := pod.Open(context.Background(), data, uuid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// service is a service that runs.
type service struct {
	files mds.Dir
	data  string
	mu    sync.Mutex
	lines []string
	stop  context.CancelFunc
	done  chan error
}

func (s *service) log(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

func (s *service) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func startService(t *testing.T, files mds.Dir, data string, change func(*Config)) *service {
	t.Helper()
	s := &service{files: files, data: data, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	c := Config{Files: files, DataDir: data, Getenv: func(string) string { return "" }, Log: s.log}
	if change != nil {
		change(&c)
	}
	go func() { s.done <- Serve(ctx, c) }()
	t.Cleanup(func() { s.end(t) })
	for range 500 {
		if strings.Contains(s.logged(), "metadata service running...") {
			return s
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the service does not run: %s", s.logged())
	return nil
}

func (s *service) end(t *testing.T) {
	t.Helper()
	s.stop()
	if err, ok := <-s.done; ok {
		if err != nil {
			t.Errorf("the service ended with %v", err)
		}
		close(s.done)
	}
}

func (s *service) url(t *testing.T, path string) string {
	t.Helper()
	e, err := s.files.Endpoint()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d%s", e.Port, path)
}

func (s *service) register(t *testing.T, uuid poddir.UUID) string {
	t.Helper()
	c := NewClient(s.files)
	c.pause = 10 * time.Millisecond
	token, err := c.Register(context.Background(), openPod(t, s.data, uuid))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// reply is what a server answered.
type reply struct {
	status int
	kind   string
	body   string
}

func do(t *testing.T, client *http.Client, method, url, kind, body string) reply {
	t.Helper()
	q, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		q.Header.Set("Content-Type", kind)
	}
	resp, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header.Get("Content-Type"), string(data)}
}

func get(t *testing.T, url string) reply {
	t.Helper()
	return do(t, http.DefaultClient, http.MethodGet, url, "", "")
}

func unixClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}
}
