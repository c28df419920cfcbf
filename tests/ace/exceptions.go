// SPDX-License-Identifier: Apache-2.0

//go:build functional

package ace

import (
	"path"
)

// deviation is what a flavor does not do, and why. Flavor and check are
// patterns of path.Match.
type deviation struct {
	flavor, check, reason string
}

// deviations are all exceptions there are (docs/stage1-differences.md).
func deviations() []deviation {
	const (
		fly      = "fly"
		one      = "a pod has one app, so there is no sidekick"
		nobody   = "post-stop is refused: nobody is left to run it"
		host     = "the app is in the host's namespace"
		hostDirs = "/dev, /proc and /sys are the host's"
		trusted  = "made for trusted host tools: nothing is restricted unless asked for"
		caller   = "the app is the caller's process, with its streams and in its session"
	)
	return []deviation{
		{fly, "sidekick.*", one},
		{fly, "main.pod.*", one},
		{fly, "post-stop.*", nobody},
		{fly, "outside.order-of-handlers", nobody},
		{fly, "*.names.hostname", host},
		{fly, "main.names.etc-hostname", host},
		{fly, "outside.not-in-the-host's-ipc", host},
		{fly, "outside.not-in-the-host's-uts", host},
		{fly, "outside.not-in-the-host's-pid", host},
		{fly, "main.fs.proc-masks", hostDirs},
		{fly, "main.fs.sys-read-only", hostDirs},
		{fly, "main.fs.sys-masks", hostDirs},
		{fly, "*.isolators.bounding-set", trusted},
		{fly, "*.isolators.seccomp", trusted},
		{fly, "*.isolators.no-new-privileges", trusted},
		{fly, "main.process.session-leader", caller},
		{fly, "main.process.stdin-is-null", caller},
		{fly, "main.process.descriptors", "the app holds the pod's lock: a descriptor of the pod directory"},
		{fly, "isolator.none", trusted},
	}
}

// exception finds the reason why a flavor need not pass a check.
func exception(flavor, check string) (reason string, ok bool) {
	for _, d := range deviations() {
		if matches(d.flavor, flavor) && matches(d.check, check) {
			return d.reason, true
		}
	}
	return "", false
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
