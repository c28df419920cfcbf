// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// features names what this build has (+) and lacks (-).
const features = "+TPM +SDJOURNAL"

func newVersion(d *Deps) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and exit",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return runVersion(d) },
	}
}

func runVersion(d *Deps) error {
	return d.writeOut(fmt.Sprintf(
		"rkt Version: %s\nappc Version: %s\nGo Version: %s\nGo OS/Arch: %s/%s\nFeatures: %s\n",
		version, appc.ACVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH, features))
}
