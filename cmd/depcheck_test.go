// SPDX-License-Identifier: Apache-2.0

package cmd_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestOnlyRktServes: what stays as long as a pod, and the tools, are small: they
// link neither the API of rkt nor what talks to a TPM.
func TestOnlyRktServes(t *testing.T) {
	const module = "github.com/rkt/rkt/v2/"
	for _, program := range []string{"stage1", "stage1-fly", "stage1/net", "cmd/actool", "cmd/acbuild", "cmd/docker2aci"} {
		out, err := exec.Command("go", "list", "-deps", module+program).Output()
		if err != nil {
			t.Fatal(program, err)
		}
		for dep := range strings.Lines(string(out)) {
			for _, no := range []string{"google.golang.org/grpc", "google.golang.org/protobuf", "github.com/google/go-tpm"} {
				if strings.HasPrefix(dep, no) {
					t.Errorf("%s links %s", program, dep)
				}
			}
		}
	}
}
