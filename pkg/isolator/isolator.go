// SPDX-License-Identifier: Apache-2.0

package isolator

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Names of the isolators that a Plan expresses.
const (
	Memory         = appc.ResourceMemory
	CPU            = appc.ResourceCPU
	Pids           = appc.ResourcePids
	CPUShares      = appc.LinuxCPUShares
	IOWeight       = appc.LinuxIOWeight
	OOMScoreAdj    = appc.LinuxOOMScoreAdj
	Rlimits        = appc.UnixRlimits
	CapsRetain     = appc.LinuxCapabilitiesRetainSet
	CapsRemove     = appc.LinuxCapabilitiesRemoveSet
	SeccompRetain  = appc.LinuxSeccompRetainSet
	SeccompRemove  = appc.LinuxSeccompRemoveSet
	NoNewPrivs     = appc.LinuxNoNewPrivileges
	SELinuxContext = appc.LinuxSELinuxContext
	Sysctl         = appc.UnixSysctl // of the pod only
)

// Names of the isolators that are known but that no flavor enforces: they end
// in Plan.Other.
const (
	BlockBandwidth   = appc.ResourceBlockBandwidth
	BlockIOPS        = appc.ResourceBlockIOPS
	NetworkBandwidth = appc.ResourceNetworkBandwidth
	AppArmorProfile  = appc.LinuxAppArmorProfile
)

// Origin says who asked for an isolator.
type Origin int

// The origins. The user is the zero value: the stricter answer where nothing
// is known.
const (
	FromUser Origin = iota
	FromImage
)

// String is the origin in words.
func (o Origin) String() string {
	if o == FromImage {
		return "image"
	}
	return "user"
}

// Item is an isolator with its origin.
type Item struct {
	appc.Isolator
	Origin Origin
}

// Mark tells which isolators of a runtime app are its image's own. Each of the
// image's counts once, so that a flag that repeats it is the user's.
func Mark(app, image appc.Isolators) []Item {
	left := slices.Clone(image)
	items := make([]Item, 0, len(app))
	for _, iso := range app {
		item := Item{Isolator: iso, Origin: FromUser}
		if i := slices.IndexFunc(left, func(o appc.Isolator) bool { return same(iso, o) }); i >= 0 {
			item.Origin = FromImage
			left = slices.Delete(left, i, i+1)
		}
		items = append(items, item)
	}
	return items
}

// same compares two isolators. White space in a value does not count: the
// pod manifest is compact, the image's may not be.
func same(a, b appc.Isolator) bool {
	return a.Name == b.Name && bytes.Equal(compact(a.Value), compact(b.Value))
}

func compact(v json.RawMessage) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, v); err != nil {
		return v
	}
	return b.Bytes()
}
