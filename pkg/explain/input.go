// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appuser"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/devfilter"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// Subject says what is explained.
type Subject int

// The subjects.
const (
	OfPod      Subject = iota // a pod that exists
	OfFlags                   // what images and flags of "rkt run" would lead to
	OfManifest                // the same of "rkt run --pod-manifest"
)

// StatePlanned is the state of a pod that does not exist.
const StatePlanned = "planned"

// Input is everything that a report is made from.
type Input struct {
	Subject  Subject
	UUID     string // none: there is no pod
	State    string
	Manifest *appc.PodManifest
	Images   map[appc.Name]*appc.ImageManifest
	Apps     map[appc.Name]AppInput
	Overlay  bool

	Stage1 Stage1Input
	Host   HostInput

	// Call is how stage1 is called. Started tells that the options are those of
	// a start, or of one that is being asked about; those of a pod that is
	// only prepared come with "rkt run-prepared".
	Call    entrypoint.Run
	Started bool
	// NetKnown tells that Call.Net is.
	NetKnown   bool
	Interfaces []Interface
	// PrivateUsers tells that the pod has a user namespace, whose range
	// Call.PrivateUsers is if it has been chosen.
	PrivateUsers bool

	Fetch []string // insecure options of this command line; nil: of no interest
}

// Stage1Input is what is known of the stage1 image.
type Stage1Input struct {
	Manifest     *appc.ImageManifest
	Flavor       string // as a started pod has recorded it; empty: see the manifest
	ID           string // empty: unknown
	From         string
	Verification Verification
}

// HostInput is what is known of the host and of who calls rkt.
type HostInput struct {
	Cgroups     string         // layout
	Controllers map[string]int // versions
	// Rlimits and Bounding are those of this process, if the app would inherit
	// them.
	Rlimits  []profile.Rlimit
	Bounding *caps.Set
	SELinux  bool
}

// AppInput is what is known of an app beside its manifests.
type AppInput struct {
	Verification Verification
	Found        *Found           // nil: its root was not looked at
	Record       *profile.Profile // nil: it was not started
	Process      *Process         // nil: it does not run
}

// Found is what was looked up in the root of an app.
type Found struct {
	IDs        appuser.IDs
	UserErr    error // why IDs are not valid
	Program    string
	ProgramErr error // why Program cannot be executed
	HasHosts   bool  // the image has an /etc/hosts
	// Devices are those that volumes are; VolumeErr is why a source cannot be
	// mounted.
	Devices   []devfilter.Rule
	VolumeErr error
}
