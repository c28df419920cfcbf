// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"testing"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
)

// BenchmarkStart is the way from fork to the end of an app that does nothing,
// less what the app alone takes ("bare").
func BenchmarkStart(b *testing.B) {
	_, probe := programs(b)
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			if err := exec.Command(probe, "exit", "0").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("fly", func(b *testing.B) {
		p := newPod(b)
		p.exec("exit", "0")
		for b.Loop() {
			if r := p.run(entrypoint.Run{}); r.status != 0 {
				b.Fatalf("%+v", r)
			}
		}
	})
}
