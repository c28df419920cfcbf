// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// version: `rkt version` against its budget, and that it touches no disk.
func version(b *bench) []row {
	h := harness.NewHost(b)
	var all []time.Duration
	for range b.rounds {
		all = append(all, b.timed(h.Cmd(context.Background(), "version")).took)
	}
	m := median(all)
	r := row{what: "rkt version", rkt: ms(m), peer: "-", ratio: "-", budget: "20 ms", met: m <= 20*time.Millisecond}
	if _, err := os.Stat(h.Dir); err == nil {
		r.met, r.comment = false, "makes the data directory"
	}
	return []row{r}
}

// runFly: a cached trivial static image, rkt and runc on the same root.
func runFly(b *bench) []row {
	h := harness.NewHost(b)
	entries := harness.TinyEntries(b)
	image := h.Fetch(harness.ACI(b, harness.Manifest("example.com/tiny", "1", map[string]any{"exec": []string{"/bin/true"}}), entries))
	bundle := b.TempDir()
	h.OK("image", "render", "--rootfs-only", "--overwrite", image, filepath.Join(bundle, "rootfs"))
	rkt := func() time.Duration {
		return b.timed(h.Cmd(context.Background(), "run", "--net=host", image)).took
	}
	var rows []row
	for _, peer := range []string{"runc", "crun"} {
		if _, err := exec.LookPath(peer); err != nil {
			continue
		}
		b.runtimeBundle(peer, bundle)
		state := b.TempDir()
		n := 0
		next := func() *exec.Cmd {
			n++
			return exec.Command(peer, "--root", state, "run", "--bundle", bundle, fmt.Sprintf("rkt-bench-%d-%d", os.Getpid(), n))
		}
		if out, err := next().CombinedOutput(); err != nil {
			b.Logf("bench: %s does not work here, left out: %s", peer, out)
			continue
		}
		rkt() // warms up, as the peer just did
		one, two := pairs(b.rounds, rkt, func() time.Duration { return b.timed(next()).took })
		ratio := one.Seconds() / two.Seconds()
		r := row{what: "rkt run fly / " + peer + " run", rkt: ms(one), peer: ms(two), ratio: fmt.Sprintf("%.2f", ratio), budget: "-", met: true}
		if peer == "runc" {
			r.budget, r.met = "1.00", ratio <= 1
		}
		rows = append(rows, r)
	}
	return rows
}

// runtimeBundle writes the config.json of an OCI runtime.
func (b *bench) runtimeBundle(runtime, bundle string) {
	config := filepath.Join(bundle, "config.json")
	_ = os.Remove(config)
	cmd := exec.Command(runtime, "spec")
	cmd.Dir = bundle
	b.timed(cmd)
	raw, err := os.ReadFile(config)
	if err != nil {
		b.Fatalf("%v", err)
	}
	var spec map[string]any
	if err := json.Unmarshal(raw, &spec); err != nil {
		b.Fatalf("%v", err)
	}
	process, ok := spec["process"].(map[string]any)
	if !ok {
		b.Fatalf("%s has no process", config)
	}
	process["terminal"], process["args"] = false, []string{"/bin/true"}
	if raw, err = json.Marshal(spec); err != nil {
		b.Fatalf("%v", err)
	}
	if err := os.WriteFile(config, raw, 0o644); err != nil {
		b.Fatalf("%v", err)
	}
}
