// SPDX-License-Identifier: Apache-2.0

package poddir

import "path/filepath"

// State directories below DATA/pods, in life-cycle order: pods move forward
// only, so a search in this order cannot miss one (spec pods.md 3.2).
const (
	Embryo        = "embryo"
	Prepare       = "prepare"
	Prepared      = "prepared"
	Run           = "run"
	ExitedGarbage = "exited-garbage"
	Garbage       = "garbage"
)

// StateDirs lists the state directories in life-cycle order.
func StateDirs() []string {
	return []string{Embryo, Prepare, Prepared, Run, ExitedGarbage, Garbage}
}

// Directories and files of the data directory.
const (
	Pods        = "pods"
	Locks       = "locks"
	PrepareLock = "prepareLock" // key in Locks
	Tmp         = "tmp"
	CAS         = "cas"
	NetData     = "net"      // what outlives the directory of a pod with networks
	NetPods     = "net/pods" // a file for each pod that has networks
)

// Files of a pod directory (spec pods.md 5.2). All are relative to it.
const (
	AppsInfo             = "appsinfo"
	Stage1               = "stage1"
	Stage1Manifest       = "stage1/manifest"
	Stage1Rootfs         = "stage1/rootfs"
	Stage1TreeStoreID    = "stage1TreeStoreID"
	PodManifest          = "pod"
	ManifestLock         = "pod.lck"
	Created              = "pod-created"
	OverlayPrepared      = "overlay-prepared"
	PrivateUsersPrepared = "private-users-prepared"
	Overlay              = "overlay"
	MDSRegistered        = "mds-registered"
	MDSToken             = "mds-token" // what the metadata service knows the pod by; root only
	RuntimeConfig        = "runtime-config"
	Flavor               = "flavor"
	NetNS                = "netns"
	Net                  = "net"
	NetInfo              = "net-info.json"
	NetState             = "net-state.json" // what teardown and check need beside NetInfo; root only
	Subcgroup            = "subcgroup"
	Cgroups              = "cgroups" // every cgroup directory made for the pod, one a line
	PPID                 = "ppid"
	PID                  = "pid"
	PGID                 = "pgid"
	AppProfile           = "app-profile.json" // what stage1-fly holds the app to; root only
	SharedVolumes        = "sharedVolumes"
	Supervisor           = "supervisor.json" // the process that supervises the pod
	AppsHost             = "apps"            // what each app is held to; root only
)

// Paths below the root of stage1 (spec stage1.md 2.2).
const (
	Stage2           = "opt/stage2"
	StatusDir        = "rkt/status"
	EnvDir           = "rkt/env"
	LaunchDir        = "rkt/apps"
	SupervisorStatus = "rkt/supervisor-status"
	SupervisorReady  = "ready" // target of SupervisorStatus
	ResolvConf       = "etc/rkt-resolv.conf"
	Hosts            = "etc/rkt-hosts"
	HostsFallback    = "etc/hosts-fallback"
	JournalDir       = "var/log/journal"
)

// AppInfoManifest is the saved image manifest of an app.
func AppInfoManifest(app string) string { return filepath.Join(AppsInfo, app, "manifest") }

// AppInfoTreeStoreID is the tree store ID of an app; overlay pods only.
func AppInfoTreeStoreID(app string) string { return filepath.Join(AppsInfo, app, "treeStoreID") }

// AppDir is an app's directory below the root of stage1.
func AppDir(app string) string { return filepath.Join(Stage2, app) }

// AppRootfs is the root file system of an app below the root of stage1.
func AppRootfs(app string) string { return filepath.Join(Stage2, app, "rootfs") }

// AppManifest is the image manifest of an app below the root of stage1.
func AppManifest(app string) string { return filepath.Join(Stage2, app, "manifest") }

// AppStatus is the exit status file of an app below the root of stage1.
func AppStatus(app string) string { return filepath.Join(StatusDir, app) }

// AppCreated is the marker whose mtime is the creation time of an app of a mutable pod.
func AppCreated(app string) string { return filepath.Join(StatusDir, app+"-created") }

// AppStarted is the marker whose mtime is the start time of an app of a mutable pod.
func AppStarted(app string) string { return filepath.Join(StatusDir, app+"-started") }

// AppHost is the profile of an app that programs on the host read.
func AppHost(app string) string { return filepath.Join(AppsHost, app+".json") }

// AppProcess tells of the running process of an app, for programs on the host.
func AppProcess(app string) string { return filepath.Join(AppsHost, app+".pid") }

// AppEnv is the environment file of an app below the root of stage1.
func AppEnv(app string) string { return filepath.Join(EnvDir, app) }

// OverlayUpper is the writable layer of an app (app == "": of stage1).
func OverlayUpper(treeID, app string) string { return filepath.Join(Overlay, treeID, "upper", app) }

// OverlayWork is the overlayfs work directory that belongs to OverlayUpper.
func OverlayWork(treeID, app string) string { return filepath.Join(Overlay, treeID, "work", app) }
