// SPDX-License-Identifier: Apache-2.0

package compression

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// What the programs of the distribution write can be read.
func TestPrograms(t *testing.T) {
	for _, argv := range [][]string{
		{"xz", "-0", "-c"},
		{"xz", "-9e", "-c"},
		{"xz", "-T2", "--block-size=100000", "-c"},
		{"xz", "--block-size=65536", "-c"},
		{"xz", "--check=sha256", "-c"},
		{"xz", "--check=none", "-c"},
		{"bzip2", "-c"},
		{"gzip", "-9", "-c"},
		{"zstd", "-12", "-q", "-c"},
		{"zstd", "--long=27", "-q", "-c"},
	} {
		program := testenv.NeedsProgram(t, argv[0])
		cmd := exec.Command(program, argv[1:]...)
		cmd.Stdin = bytes.NewReader(text())
		data, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v", argv, err)
		}
		if got, kind, err := readAll(data); err != nil || !bytes.Equal(got, text()) || string(kind) != argv[0] {
			t.Errorf("%v: %s, %v", argv, kind, err)
		}
	}
}
