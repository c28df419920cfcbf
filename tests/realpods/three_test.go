// SPDX-License-Identifier: Apache-2.0

//go:build functional

package realpods

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestOneOfThreeFails: the first failure ends the pod and is its status; what
// each app had come to is kept (apps.md 13.4).
func TestOneOfThreeFails(t *testing.T) {
	eachFlavor(t, func(r *run) {
		image := r.backend()
		file := filepath.Join(r.TempDir(), "uuid")
		begin := time.Now()
		res := r.h.Run("run", r.stage1, "--net=none", "--uuid-file-save="+file,
			image, "--name=good", "--", "exit", "0", "1000", "---",
			image, "--name=bad", "--", "exit", "5", "1000", "---",
			image, "--name=late", "--", "exit", "6", "2000", "---")
		if res.Status != 5 {
			r.Errorf("want 5: %s", res)
		}
		if took := time.Since(begin); took > 20*time.Second {
			r.Errorf("the pod took %s to end", took)
		}
		uuid, err := os.ReadFile(file)
		r.must(err)
		status := r.h.Status(string(uuid))
		for app, want := range map[string]string{"app-good": "0", "app-bad": "5", "app-late": "0", "state": "exited"} {
			r.want(app, status[app], want)
		}
		r.h.OK("rm", string(uuid))
	})
}
