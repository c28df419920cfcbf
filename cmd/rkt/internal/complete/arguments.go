// SPDX-License-Identifier: Apache-2.0

package complete

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/pod"
)

// ownArguments tells whether what follows "--" belongs to an app of the pod.
func ownArguments(path string) bool {
	return slices.Contains([]string{"run", "prepare", "explain run", "app add"}, path)
}

// kind is what an argument of a command is.
type kind struct {
	pods      func(pod.State) bool // UUIDs of pods in such a state
	images    bool
	units     bool // declarations of pods
	keys      bool // fingerprints of trusted keys
	words     []string
	directive cobra.ShellCompDirective
}

// expected says what the n-th argument of a command is, counted from 0.
func expected(path string, n int) kind {
	none := kind{directive: noFiles}
	image, orFile := kind{images: true, directive: noFiles}, kind{images: true, directive: files}
	ofPod := kind{pods: podStates(path), directive: noFiles}
	switch path {
	case "stop", "rm", "net check", "net repair":
		return ofPod
	case "image rm", "image verify":
		return image
	case "run", "prepare", "fetch", "image fetch", "explain run":
		return orFile
	case "trust", "unit verify":
		return kind{directive: files}
	case "trust rm":
		return kind{keys: true, directive: noFiles}
	case "unit show":
		return at(n, kind{units: true, directive: noFiles})
	case "app add":
		return at(n, ofPod, image)
	case "export":
		return at(n, ofPod, kind{directive: files})
	case "image export":
		return at(n, image, kind{directive: files})
	case "image extract", "image render":
		return at(n, image, kind{directive: dirs})
	case "image cat-manifest", "image inspect", "image push":
		return at(n, image)
	case "completion":
		return at(n, kind{words: []string{"bash", "zsh", "fish"}, directive: noFiles})
	}
	if ofPod.pods != nil {
		return at(n, ofPod)
	}
	return none
}

func at(n int, kinds ...kind) kind {
	if n < len(kinds) {
		return kinds[n]
	}
	return kind{directive: noFiles}
}

// podStates says of which states the pods are that a command is of use for; nil
// if it takes no pod.
func podStates(path string) func(pod.State) bool {
	is := func(states ...pod.State) func(pod.State) bool {
		return func(s pod.State) bool { return slices.Contains(states, s) }
	}
	switch path {
	case "enter", "attach", "stop", "net check", "net repair", "app add", "app exec", "app start", "app stop", "app rm":
		return is(pod.Running)
	case "run-prepared":
		return is(pod.Prepared)
	case "rm":
		return func(s pod.State) bool { return s == pod.Prepared || s.IsFinished() }
	case "status", "cat-manifest", "explain":
		return pod.State.HasManifest
	case "logs", "export", "app list", "app status":
		return pod.State.HasStarted
	}
	return nil
}

func (l *line) arguments(src Sources) Result {
	if l.path == "help" {
		return l.topics()
	}
	k := expected(l.path, len(l.args))
	r := Result{Candidates: words(k.words...), Directive: k.directive}
	if k.pods != nil && !l.uuidFile {
		r.Candidates = append(r.Candidates, src.Pods(l.partial, k.pods)...)
	}
	if k.images {
		r.Candidates = append(r.Candidates, src.Images(l.partial)...)
	}
	if k.units {
		r.Candidates = append(r.Candidates, src.Declarations()...)
	}
	if k.keys {
		r.Candidates = append(r.Candidates, src.Keys()...)
	}
	r.Candidates = slices.DeleteFunc(r.Candidates, func(c Candidate) bool { return slices.Contains(l.args, c.Value) })
	return r
}

// topics are the commands that follow "help" and the words after it.
func (l *line) topics() Result {
	at := l.cmd.Root()
	for _, word := range l.args {
		i := slices.IndexFunc(at.Commands(), func(c *cobra.Command) bool { return c.Name() == word })
		if i < 0 {
			return Result{Directive: noFiles}
		}
		at = at.Commands()[i]
	}
	return Result{subcommands(at), noFiles}
}
