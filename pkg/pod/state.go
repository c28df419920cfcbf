// SPDX-License-Identifier: Apache-2.0

package pod

import "github.com/rkt/rkt/v2/pkg/poddir"

// State is the state of a pod as commands print it.
type State string

// The states (spec pods.md 2).
const (
	Embryo         State = "embryo"
	Preparing      State = "preparing"
	AbortedPrepare State = "aborted prepare"
	Prepared       State = "prepared"
	Running        State = "running"
	Exited         State = "exited"
	ExitedDeleting State = "exited deleting"
	ExitedGarbage  State = "exited garbage"
	Deleting       State = "deleting"
	Garbage        State = "garbage"
	Gone           State = "gone"
)

// IsFinished tells whether the pod can never run again.
func (s State) IsFinished() bool {
	return s == AbortedPrepare || s == Gone || s.IsAfterRun()
}

// IsAfterRun tells whether the pod has ended, or was thrown away.
func (s State) IsAfterRun() bool {
	switch s {
	case Exited, ExitedGarbage, ExitedDeleting, Garbage, Deleting:
		return true
	}
	return false
}

// HasManifest tells whether the pod manifest is complete in this state.
func (s State) HasManifest() bool {
	return s == Prepared || s == Running || s.IsAfterRun()
}

// HasStarted tells whether a start time means anything in this state.
func (s State) HasStarted() bool { return s == Running || s.IsAfterRun() }

// stateOf derives the state of a pod in a state directory (spec pods.md 2).
func stateOf(dir string, locked bool) State {
	switch dir {
	case poddir.Embryo:
		return Embryo
	case poddir.Prepare:
		return pick(locked, Preparing, AbortedPrepare)
	case poddir.Prepared:
		return Prepared
	case poddir.Run:
		return pick(locked, Running, Exited)
	case poddir.ExitedGarbage:
		return pick(locked, ExitedDeleting, ExitedGarbage)
	case poddir.Garbage:
		return pick(locked, Deleting, Garbage)
	}
	return Gone
}

func pick(cond bool, yes, no State) State {
	if cond {
		return yes
	}
	return no
}

// nextDirs lists where a pod may move from each state directory.
func nextDirs(dir string) []string {
	switch dir {
	case poddir.Embryo:
		return []string{poddir.Prepare}
	case poddir.Prepare:
		return []string{poddir.Prepared, poddir.Run, poddir.Garbage}
	case poddir.Prepared:
		return []string{poddir.Run, poddir.Garbage}
	case poddir.Run:
		return []string{poddir.ExitedGarbage}
	}
	return nil
}
