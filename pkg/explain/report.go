// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"github.com/rkt/rkt/v2/pkg/appc"
)

// SchemaVersion is the version of the JSON form. It grows when a field goes or
// changes its meaning; new fields may come without.
const SchemaVersion = 1

// Origin says who has decided a setting.
type Origin string

// The origins.
const (
	FromDefault  Origin = "default"          // rkt, because nobody asked for something else
	FromImage    Origin = "image"            // the image manifest
	FromUser     Origin = "user"             // a flag or the pod manifest
	FromInsecure Origin = "insecure-options" // --insecure-options
	FromStage1   Origin = "stage1"           // the flavor: it cannot or does not do otherwise
	FromHost     Origin = "host"             // the kernel or its configuration
	FromCaller   Origin = "caller"           // inherited from who called rkt
	FromUnknown  Origin = "unknown"          // not recorded
)

// Basis says what a report is about.
type Basis string

// The bases.
const (
	BasisPlan   Basis = "plan"   // what would be: nothing has been started
	BasisRecord Basis = "record" // what the pod was started with
)

// Report is the answer. Lists are never nil.
type Report struct {
	Version          int               `json:"version"`
	Basis            Basis             `json:"basis"`
	Pod              Pod               `json:"pod"`
	Stage1           Stage1            `json:"stage1"`
	Host             Host              `json:"host"`
	InsecureOptions  InsecureOptions   `json:"insecureOptions"`
	Namespaces       []Namespace       `json:"namespaces"`
	UserNamespace    UserNamespace     `json:"userNamespace"`
	Network          Network           `json:"network"`
	HostName         Text              `json:"hostName"`
	KernelParameters []KernelParameter `json:"kernelParameters"`
	Limits           []Limit           `json:"limits"` // of all apps together
	Apps             []App             `json:"apps"`
	// Refusals are the reasons for which the pod would not start here.
	Refusals []string `json:"refusals"`
	// Warnings are what stage1 says and then goes on.
	Warnings []string `json:"warnings"`

	subject Subject
}

// Pod is which pod it is.
type Pod struct {
	UUID  string `json:"uuid,omitempty"` // none: there is no pod
	State string `json:"state"`          // as in "rkt list"; planned: there is no pod
}

// Stage1 is what starts the apps.
type Stage1 struct {
	Name             string       `json:"name"`
	Version          string       `json:"version,omitempty"`
	ImageID          string       `json:"imageID,omitempty"` // unknown if the store has it no more
	Flavor           string       `json:"flavor,omitempty"`
	InterfaceVersion int          `json:"interfaceVersion"`
	From             string       `json:"from,omitempty"` // where the image was found
	Verification     Verification `json:"verification"`
	// Known: this rkt knows what the image does with a plan. What is said of
	// another one is what it is asked for.
	Known bool `json:"known"`
}

// Verification says how the origin of an image was checked.
type Verification struct {
	Status string `json:"status"` // one of the Verified… constants
	Detail string `json:"detail"`
}

// Values of Verification.Status.
const (
	VerifiedBuiltIn = "built-in"     // part of this rkt
	VerifiedSigned  = "signed"       // by a trusted key, when it was fetched
	VerifiedPinned  = "pinned"       // by a digest that a trust policy accepts
	VerifiedNot     = "not-verified" // somebody has said that it need not be
	VerifiedUnknown = "unknown"      // nothing is recorded
)

// Host is what the machine can do.
type Host struct {
	Cgroups     string         `json:"cgroups"`     // unified, hybrid, legacy or none
	Controllers map[string]int `json:"controllers"` // version of control groups, 0: not there
}

// InsecureOptions are those in force, by name.
type InsecureOptions struct {
	Run []string `json:"run"` // capabilities, paths, seccomp; null: not known
	// Fetch are those of this command line. Those that a pod's images were
	// fetched with are not recorded: null.
	Fetch []string `json:"fetch"`
}

// Namespace is one of the kernel's.
type Namespace struct {
	Name   string `json:"name"` // mount, pid, ipc, network, uts, user, cgroup
	Own    *bool  `json:"own"`  // not the host's; null: unknown
	Of     string `json:"of"`   // whose it is if it is not the host's: pod or app
	Origin Origin `json:"origin"`
}

// UserNamespace maps the users of the pod.
type UserNamespace struct {
	On     bool   `json:"on"`
	First  uint32 `json:"first,omitempty"` // host ID of the pod's root
	Count  uint32 `json:"count,omitempty"`
	Origin Origin `json:"origin"`
	Detail string `json:"detail,omitempty"`
}

// Network is what --net leads to.
type Network struct {
	Asked      string      `json:"asked,omitempty"` // the list of --net; empty: not recorded
	Gives      string      `json:"gives"`           // host, loopback, networks or unknown
	Detail     string      `json:"detail"`
	Interfaces []Interface `json:"interfaces"`
	Ports      []Port      `json:"ports"`
	Origin     Origin      `json:"origin"`
}

// Values of Network.Gives.
const (
	NetHost     = "host"
	NetLoopback = "loopback"
	NetNetworks = "networks"
	NetUnknown  = "unknown"
)

// Interface is a network interface that stage1 has recorded.
type Interface struct {
	Network string `json:"network"`
	Name    string `json:"name"`
	IP      string `json:"ip"`
}

// Port is a forwarded port.
type Port struct {
	Name     string `json:"name"`
	HostIP   string `json:"hostIP,omitempty"`
	HostPort uint   `json:"hostPort"`
}

// Text is a setting that is a word.
type Text struct {
	Value  string `json:"value"`
	Origin Origin `json:"origin"`
	Detail string `json:"detail,omitempty"`
}

// Flag is a setting that is on or off.
type Flag struct {
	On     bool   `json:"on"`
	Origin Origin `json:"origin"`
	Detail string `json:"detail,omitempty"`
}

// KernelParameter is a setting below /proc/sys of the pod's namespaces.
type KernelParameter struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin Origin `json:"origin"`
}

// App is what holds one app.
type App struct {
	Name             string       `json:"name"`
	Image            Image        `json:"image"`
	Program          Program      `json:"program"`
	User             User         `json:"user"`
	WorkingDirectory Text         `json:"workingDirectory"`
	Capabilities     Capabilities `json:"capabilities"`
	NoNewPrivileges  Flag         `json:"noNewPrivileges"`
	Seccomp          Seccomp      `json:"seccomp"`
	Root             Root         `json:"root"`
	Mounts           []Mount      `json:"mounts"`
	Masks            Masks        `json:"masks"`
	Devices          Devices      `json:"devices"`
	Limits           []Limit      `json:"limits"`
	Rlimits          []Rlimit     `json:"rlimits"`
	OOMScoreAdj      OOMScoreAdj  `json:"oomScoreAdj"`
	Streams          []Stream     `json:"streams"`
	SELinux          *Text        `json:"selinux,omitempty"` // only if asked for
	// Process is the running app; absent if it does not run.
	Process *ProcessInfo `json:"process,omitempty"`
	// Differences are where record or process do not agree with the plan.
	Differences []Difference `json:"differences"`
}

// Image is what the app was made from.
type Image struct {
	Name         string       `json:"name"`
	Version      string       `json:"version,omitempty"`
	ID           string       `json:"id"`
	Docker       bool         `json:"docker,omitempty"` // converted from docker or OCI
	Verification Verification `json:"verification"`
}

// Program is what is executed.
type Program struct {
	Exec []string `json:"exec"` // as asked for
	// File is the program as it was found in the root of the app.
	File            string     `json:"file,omitempty"`
	Origin          Origin     `json:"origin"`
	ArgumentsOrigin Origin     `json:"argumentsOrigin"`
	PreStart        [][]string `json:"preStart"` // event handlers, as root of the pod
	PostStop        [][]string `json:"postStop"`
	Detail          string     `json:"detail,omitempty"`
}

// User is who the program is executed as. The numbers are the pod's.
type User struct {
	User         string `json:"user"` // as asked for
	UID          *int   `json:"uid"`  // null: known when the app starts
	Origin       Origin `json:"origin"`
	Group        string `json:"group"`
	GID          *int   `json:"gid"`
	GroupOrigin  Origin `json:"groupOrigin"`
	Groups       []int  `json:"supplementaryGroups"`
	GroupsOrigin Origin `json:"supplementaryGroupsOrigin"`
	Detail       string `json:"detail,omitempty"`
}

// Capabilities are what the app may ever have.
type Capabilities struct {
	Bounding []string `json:"bounding"`
	Origin   Origin   `json:"origin"`
	// Added and Removed are the differences from the default set.
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
	// Unavailable are those of the set that cannot be had here: rkt's caller has
	// not got them, or they do not go with a user namespace.
	Unavailable []string `json:"unavailable"`
	// Effective at the start: all of the bounding set for root, none for others;
	// null: known when the app starts.
	Effective []string `json:"effective"`
}

// Seccomp is the system call filter of the app.
type Seccomp struct {
	On     bool   `json:"on"`
	Origin Origin `json:"origin"`
	List   string `json:"list,omitempty"` // allow or deny: what the list of the filter is
	// Denied is the answer to a denied call: kill, or the name of an error.
	Denied string `json:"denied,omitempty"`
	// Unknown is the answer to a call that the filter has no name for.
	Unknown string `json:"unknown,omitempty"`
	Allowed int    `json:"allowed"` // number of calls of this architecture
	// Added and Removed are the differences from the default list; an entry is a
	// call, or call(arguments) where only these arguments differ.
	Added   []string       `json:"added"`
	Removed []string       `json:"removed"`
	Rules   []ArgumentRule `json:"rules"`
	// PodFilter: everything in the pod is under a second, wider filter.
	PodFilter bool `json:"podFilter"`
}

// ArgumentRule refuses an allowed call for some arguments.
type ArgumentRule struct {
	Call   string `json:"call"`
	Refuse string `json:"refuse"` // empty: whatever the arguments are
	Answer string `json:"answer"`
}

// Root is the root file system of the app.
type Root struct {
	Kind     string `json:"kind"` // overlay or copy
	ReadOnly Flag   `json:"readOnly"`
}

// Mount is something mounted in the app's root.
type Mount struct {
	Kind      string `json:"kind"` // host, empty, implicit or system
	Volume    string `json:"volume,omitempty"`
	Source    string `json:"source"`
	Target    string `json:"target"` // as asked for
	ReadOnly  bool   `json:"readOnly"`
	Recursive bool   `json:"recursive"`
	Origin    Origin `json:"origin"`
	// Optional: only where the pod or the host has the source.
	Optional bool `json:"optional,omitempty"`
	// Present tells whether it is mounted in the running app; absent if unknown.
	Present *bool `json:"present,omitempty"`
}

// Values of Mount.Kind.
const (
	MountHost     = "host"     // a path of the host
	MountEmpty    = "empty"    // a directory of the pod
	MountImplicit = "implicit" // the same, which nobody has defined
	MountSystem   = "system"   // by stage1, in every app
)

// Masks are paths that are closed to the app, where they exist.
type Masks struct {
	On       bool     `json:"on"`
	Origin   Origin   `json:"origin"`
	ReadOnly []string `json:"readOnly"`
	Hidden   []string `json:"hidden"`
	// Absent are those that the running app's root does not have at all; null
	// if unknown.
	Absent []string `json:"absent"`
}

// Devices are what device nodes the app may use.
type Devices struct {
	Restricted bool         `json:"restricted"`
	Origin     Origin       `json:"origin"`
	Rules      []DeviceRule `json:"rules"` // what is allowed; everything else is not
	By         string       `json:"by"`    // what enforces it
}

// DeviceRule allows access to a device.
type DeviceRule struct {
	Device string `json:"device"` // such as "c 1:3"
	Access string `json:"access"` // of the letters r, w, m
	Name   string `json:"name,omitempty"`
}

// Limit is a limit on a resource.
type Limit struct {
	Name    string `json:"name"`    // memory, cpu, cpu-shares, pids, io-weight
	Limit   *int64 `json:"limit"`   // null: none
	Request *int64 `json:"request"` // null: none
	Unit    string `json:"unit"`
	Origin  Origin `json:"origin"`
	// By is what enforces it: "cgroup v1", "cgroup v2", or nothing: this host
	// cannot.
	By string `json:"by"`
	// Missing is what happens because the host cannot: refused or skipped.
	Missing string `json:"missing,omitempty"`
	// Files are the control files of the running app.
	Files []ControlFile `json:"files,omitempty"`
}

// Values of Limit.Missing.
const (
	MissingRefused = "refused" // the pod does not start
	MissingSkipped = "skipped" // with a warning
)

// ControlFile is a file of a cgroup.
type ControlFile struct {
	Path  string `json:"path"`
	Value string `json:"value"`
}

// Rlimit is a limit on each process (setrlimit(2)).
type Rlimit struct {
	Name   string           `json:"name"`
	Soft   appc.RlimitValue `json:"soft"`
	Hard   appc.RlimitValue `json:"hard"`
	Origin Origin           `json:"origin"`
	Detail string           `json:"detail,omitempty"`
}

// OOMScoreAdj is how willingly the kernel kills the app for want of memory.
type OOMScoreAdj struct {
	Value  *int64 `json:"value"` // null: as it is with rkt's caller
	Origin Origin `json:"origin"`
}

// Stream is a standard stream.
type Stream struct {
	Name   string `json:"name"`
	Mode   string `json:"mode"` // null, log, tty, stream, interactive or caller
	Origin Origin `json:"origin"`
}

// ProcessInfo is what the kernel says of the running app.
type ProcessInfo struct {
	PID             int      `json:"pid"` // on the host
	UID             int      `json:"uid"` // the pod's
	GID             int      `json:"gid"`
	Bounding        []string `json:"bounding"`
	Effective       []string `json:"effective"`
	NoNewPrivileges bool     `json:"noNewPrivileges"`
	Seccomp         string   `json:"seccomp"` // off, strict or filter
	OOMScoreAdj     int64    `json:"oomScoreAdj"`
	Cgroups         []string `json:"cgroups"`
}

// Difference is a setting in which reality is not what the plan says.
type Difference struct {
	Setting string `json:"setting"`
	Plan    string `json:"plan"`
	Actual  string `json:"actual"`
	Seen    string `json:"seen"` // record or process
}

// Values of Difference.Seen.
const (
	SeenRecord  = "record"
	SeenProcess = "process"
)
