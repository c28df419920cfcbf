// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// chained is the configuration of one plugin of a list as the runtime passes
// it (CNI specification, "Deriving request configuration from plugin
// configuration").
func chained(p *libcni.PluginConfig, list *libcni.NetworkConfigList, capabilities map[string]any, previous types.Result) ([]byte, error) {
	inject := map[string]any{"name": list.Name, "cniVersion": list.CNIVersion, "prevResult": previous}
	runtime := map[string]any{}
	for name, on := range p.Network.Capabilities {
		if v, ok := capabilities[name]; on && ok {
			runtime[name] = v
		}
	}
	if len(runtime) > 0 {
		inject["runtimeConfig"] = runtime
	}
	c, err := libcni.InjectConf(p, inject)
	if err != nil {
		return nil, err
	}
	return c.Bytes, nil
}
