// SPDX-License-Identifier: Apache-2.0

package podunit

// Kind is what a value of a key looks like.
type Kind string

const (
	// Text is the rest of the line; the last one counts.
	Text Kind = "text"
	// Bool is one of systemd's words: yes, no, true, false, on, off, 1, 0.
	Bool Kind = "yes/no"
	// List is one value a line, and lines add up; an empty one forgets those
	// before it.
	List Kind = "list"
	// Words are any number of values a line, separated by blanks and quoted as
	// in systemd; lines add up, and an empty one forgets those before it.
	Words Kind = "words"
	// Path is Text that is an absolute path: a service has no directory of its
	// own that another path would be relative to.
	Path Kind = "path"
	// Paths is a List of absolute paths.
	Paths Kind = "paths"
)

// Sections of a declaration.
const (
	SectionPod     = "Pod"
	SectionApp     = "App"
	sectionUnit    = "Unit"
	sectionService = "Service"
	sectionSocket  = "Socket"
	sectionInstall = "Install"
)

// Key is a key of a declaration.
type Key struct {
	Section string // SectionPod or SectionApp
	Name    string
	Kind    Kind
	// Flag is what the key is for `rkt run`, without dashes; "" for the keys
	// that are no flag.
	Flag string
	// Global flags stand before the command.
	Global bool
	Help   string
}

// Names of keys that are more than a flag.
const (
	keyImage    = "Image"
	keyArgs     = "Args"
	keyStage1   = "Stage1"
	keyUUIDFile = "UUIDFile"
	keyRemove   = "RemoveOnStop"
	keyManifest = "PodManifest"
	keyInsecure = "InsecureOptions"
	keyDir      = "Dir"
	keyPull     = "PullPolicy"
)

// Keys lists all keys, in the order of the documentation.
func Keys() []Key {
	return []Key{
		{SectionPod, "Net", List, "net", false, "networks, as of --net: default, host, none, NAME[:ARGS]"},
		{SectionPod, "Port", List, "port", false, "port of an app to forward: NAME:[HOSTIP:]HOSTPORT"},
		{SectionPod, "DNS", List, "dns", false, "name server, or host or none"},
		{SectionPod, "DNSSearch", List, "dns-search", false, "domain to search"},
		{SectionPod, "DNSOption", List, "dns-opt", false, "option of resolv.conf"},
		{SectionPod, "DNSDomain", Text, "dns-domain", false, "domain of resolv.conf"},
		{SectionPod, "HostsEntry", List, "hosts-entry", false, "line of /etc/hosts: IP=NAME, or host"},
		{SectionPod, "Hostname", Text, "hostname", false, "host name of the pod"},
		{SectionPod, "Volume", List, "volume", false, "NAME,kind=host,source=PATH[,readOnly=BOOL][,recursive=BOOL] or NAME,kind=empty[,…]"},
		{SectionPod, "Mount", List, "mount", false, "volume=NAME,target=PATH, in every app"},
		{SectionPod, "Environment", Words, "set-env", false, "NAME=VALUE, for every app"},
		{SectionPod, "EnvironmentFile", Paths, "set-env-file", false, "file with lines NAME=VALUE"},
		{SectionPod, "InheritEnvironment", Bool, "inherit-env", false, "give apps the environment of the service"},
		{SectionPod, "IPC", Text, "ipc", false, "auto, private or parent"},
		{SectionPod, "PrivateUsers", Bool, "private-users", false, "a user namespace for the pod"},
		{SectionPod, "Sysctl", List, "sysctl", false, "NAME=VALUE, kernel parameter of the pod's namespaces"},
		{SectionPod, "NoOverlay", Bool, "no-overlay", false, "copy images instead of mounting overlays"},
		{SectionPod, keyManifest, Path, "pod-manifest", false, "file with a pod manifest, instead of apps"},
		{SectionPod, keyPull, Text, "pull-policy", false, "new, update or never"},
		{SectionPod, "StallTimeout", Text, "stall-timeout", false, "when to give up a server that sends nothing: 1s to 1h"},
		{SectionPod, "Platform", Text, "platform", false, "OS/ARCH of images with several platforms"},
		{SectionPod, "MaxConcurrentDownloads", Text, "max-concurrent-downloads", false, "layers to download at once"},
		{SectionPod, "MetadataService", Bool, "mds-register", false, "register the pod with the metadata service"},
		{SectionPod, "TPM", Text, "tpm", false, "auto, require or off: measure the pod into the TPM"},
		{SectionPod, "TPMDevice", Path, "tpm-device", false, "device, or Unix socket, of the TPM"},
		{SectionPod, "TPMLog", Path, "tpm-log", false, "event log of what was measured"},
		{SectionPod, "TPMPCR", Text, "tpm-pcr", false, "PCR to measure into"},
		{SectionPod, keyStage1, Text, "stage1-name", false, "coreos, host, fly, or the name of a stage1 image"},
		{SectionPod, "Stage1Path", Path, "stage1-path", false, "file of a stage1 image"},
		{SectionPod, "Stage1URL", Text, "stage1-url", false, "URL of a stage1 image"},
		{SectionPod, "Stage1Hash", Text, "stage1-hash", false, "image ID of a stage1 image in the store"},
		{SectionPod, "Stage1FromDir", Text, "stage1-from-dir", false, "file in the directory of stage1 images"},
		{SectionPod, keyUUIDFile, Path, "uuid-file-save", false, "where to write the pod's UUID (%t/rkt-pod/%N/uuid)"},
		{SectionPod, keyRemove, Bool, "", false, "remove the pod when it stops, instead of leaving it to rkt gc"},
		{SectionPod, keyDir, Path, "dir", true, "data directory of rkt"},
		{SectionPod, "Debug", Bool, "debug", true, "messages of rkt, stage1 and the pod's systemd"},
		{SectionPod, "TrustKeysFromHTTPS", Bool, "trust-keys-from-https", true, "accept keys that discovery finds over HTTPS"},
		{SectionPod, keyInsecure, Text, "insecure-options", true, "security features to do without; verify warns of it"},

		{SectionApp, keyImage, Text, "", false, "the image, as for rkt run; required"},
		{SectionApp, "Signature", Path, "signature", false, "file with the signature of the image"},
		{SectionApp, "Exec", Text, "exec", false, "program to run instead of the image's"},
		{SectionApp, keyArgs, Words, "", false, "arguments of the program"},
		{SectionApp, "User", Text, "user", false, "user, as number, name or path"},
		{SectionApp, "Group", Text, "group", false, "group, as number, name or path"},
		{SectionApp, "SupplementaryGroups", List, "supplementary-gids", false, "numbers of groups, separated by commas"},
		{SectionApp, "WorkingDirectory", Text, "working-dir", false, "directory the program starts in"},
		{SectionApp, "ReadOnly", Bool, "readonly-rootfs", false, "mount the root file system read-only"},
		{SectionApp, "Environment", Words, "environment", false, "NAME=VALUE, for this app"},
		{SectionApp, "Mount", List, "mount", false, "volume=NAME,target=PATH, in this app"},
		{SectionApp, "Memory", Text, "memory", false, "memory limit: 16Mi, 1G"},
		{SectionApp, "CPU", Text, "cpu", false, "CPU limit: 500m, 2"},
		{SectionApp, "CPUShares", Text, "cpu-shares", false, "share of CPU time, 2 to 262144"},
		{SectionApp, "PidsLimit", Text, "pids-limit", false, "how many processes and threads"},
		{SectionApp, "IOWeight", Text, "io-weight", false, "share of the disks' time, 1 to 10000"},
		{SectionApp, "Ulimit", List, "ulimit", false, "limit of each process: NAME=SOFT[:HARD]"},
		{SectionApp, "OOMScoreAdjust", Text, "oom-score-adj", false, "-1000 to 1000"},
		{SectionApp, "Capabilities", Text, "caps-retain", false, "the only capabilities: CAP_A,CAP_B"},
		{SectionApp, "DropCapabilities", Text, "caps-remove", false, "capabilities to take away: CAP_A,CAP_B"},
		{SectionApp, "Seccomp", Text, "seccomp", false, "mode=retain|remove[,errno=E],CALL,…"},
		{SectionApp, "Annotation", Words, "annotation", false, "NAME=VALUE, annotation of the app"},
		{SectionApp, "UserAnnotation", Words, "user-annotation", false, "KEY=VALUE, of no meaning to rkt"},
		{SectionApp, "UserLabel", Words, "user-label", false, "KEY=VALUE, of no meaning to rkt"},
		{SectionApp, "StandardInput", Text, "stdin", false, "null, tty or stream"},
		{SectionApp, "StandardOutput", Text, "stdout", false, "log, null, tty or stream"},
		{SectionApp, "StandardError", Text, "stderr", false, "log, null, tty or stream"},
	}
}

// NotKeys are the flags of `rkt run` that have no key, and why.
func NotKeys() map[string]string {
	return map[string]string{
		"name":        "the section: [App NAME]",
		"interactive": "a service has no terminal",
		"store-only":  "PullPolicy=never",
		"no-store":    "PullPolicy=update",
		"cap-retain":  "Capabilities=",
		"cap-remove":  "DropCapabilities=",
		"help":        "no setting",
		"progress":    "a service has no terminal",
		"cpuprofile":  "for those who work on rkt",
		"memprofile":  "for those who work on rkt",
		// Of whoever reads the declarations: the service gets the same.
		"system-config": "that of the generator",
		"local-config":  "that of the generator",
		"user-config":   "that of the generator",
	}
}

func find(section, name string) (Key, bool) {
	for _, k := range Keys() {
		if k.Section == section && k.Name == name {
			return k, true
		}
	}
	return Key{}, false
}

func names(section string) (out []string) {
	for _, k := range Keys() {
		if k.Section == section {
			out = append(out, k.Name)
		}
	}
	return out
}
