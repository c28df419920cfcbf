// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/podplan"
)

// checkPorts finds what stage1 would find about the ports of the host that the
// pod wants; images has one entry for each app.
func checkPorts(m *appc.PodManifest, images []Image) error {
	byApp := map[appc.Name]*appc.ImageManifest{}
	for i, a := range m.Apps {
		byApp[a.Name] = images[i].Manifest
	}
	_, err := podplan.Ports(m, byApp)
	return err
}
