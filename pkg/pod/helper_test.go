// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// holdEnv makes the test binary hold the lock of the directory it names until
// its standard input ends: a lock of another process, as the real thing is.
const holdEnv = "POD_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		os.Exit(hold(path))
	}
	os.Exit(m.Run())
}

func hold(path string) int {
	if _, err := lock.TryTake(path, lock.Exclusive); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

// holder is a process that holds a pod lock.
type holder struct{ release func() }

func startHolder(t *testing.T, path string) *holder {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("lock holder said %q, %v", line, err)
	}
	done := false
	h := &holder{release: func() {
		if done {
			return
		}
		done = true
		_ = in.Close()
		_ = cmd.Wait()
	}}
	t.Cleanup(h.release)
	return h
}

const (
	uuidA = poddir.UUID("11111111-1111-4111-8111-111111111111")
	uuidB = poddir.UUID("11111111-2222-4222-8222-222222222222")
	tree1 = "deps-sha512-0000000000000000000000000000000000000000000000000000000000000001"
	appID = "sha512-00000000000000000000000000000000000000000000000000000000000000aa"
)

const testManifest = `{"acVersion":"1.30.0","acKind":"PodManifest","apps":[{"name":"app","image":{"name":"example.com/app","id":"` + appID + `"},` +
	`"app":{"exec":["/x"],"user":"0","group":"0","mountPoints":[{"name":"data","path":"/data","readOnly":true}],"userLabels":{"l":"m"}},` +
	`"mounts":[{"volume":"v","path":"/vv"}]}],` +
	`"volumes":[{"name":"v","kind":"host","source":"/srv","readOnly":true},{"name":"data","kind":"empty"}],` +
	`"isolators":null,"annotations":[{"name":"coreos.com/rkt/stage1/mutable","value":"false"}],"ports":[],"userAnnotations":{"pod":"yes"}}`

const testImage = `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app","labels":[{"name":"version","value":"1.2"}]}`

// makePod makes a complete overlay pod in a state directory.
func makePod(t testing.TB, dataDir, dir string, uuid poddir.UUID) string {
	t.Helper()
	if err := EnsureDirs(dataDir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dataDir, poddir.Pods, dir, uuid.String())
	files := map[string]string{
		poddir.PodManifest:               testManifest,
		poddir.ManifestLock:              "",
		poddir.Created:                   "",
		poddir.OverlayPrepared:           "",
		poddir.Stage1Manifest:            testImage,
		poddir.Stage1TreeStoreID:         tree1,
		poddir.AppInfoManifest("app"):    testImage,
		poddir.AppInfoTreeStoreID("app"): "deps-app",
	}
	if dir == poddir.Run || dir == poddir.ExitedGarbage {
		files[poddir.PID] = "12\n"
		files[poddir.NetInfo] = `[{"netName":"default","ip":"172.16.28.7"}]`
		files[poddir.OverlayUpper(tree1, "")+"/"+poddir.AppStatus("app")] = "3\n"
	}
	for rel, data := range files {
		put(t, filepath.Join(path, rel), data)
	}
	return path
}

func put(t testing.TB, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o640); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t testing.TB, dataDir string, uuid poddir.UUID) *Pod {
	t.Helper()
	p, err := Open(context.Background(), dataDir, uuid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}
