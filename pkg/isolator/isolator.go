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
	Memory        = "resource/memory"
	CPU           = "resource/cpu"
	CPUShares     = "os/linux/cpu-shares"
	OOMScoreAdj   = "os/linux/oom-score-adj"
	CapsRetain    = "os/linux/capabilities-retain-set"
	CapsRemove    = "os/linux/capabilities-remove-set"
	SeccompRetain = "os/linux/seccomp-retain-set"
	SeccompRemove = "os/linux/seccomp-remove-set"
	NoNewPrivs    = "os/linux/no-new-privileges"
)

// Names of the isolators that are known but that no flavor enforces: they end
// in Plan.Other.
const (
	BlockBandwidth   = "resource/block-bandwidth"
	BlockIOPS        = "resource/block-iops"
	NetworkBandwidth = "resource/network-bandwidth"
	SELinuxContext   = "os/linux/selinux-context"
	AppArmorProfile  = "os/linux/apparmor-profile"
	Sysctl           = "os/unix/sysctl"
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
