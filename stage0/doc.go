// SPDX-License-Identifier: Apache-2.0

// Package stage0 has the verbs of pods: Prepare makes one from images, Run
// becomes its stage1 by exec, Enter, Attach, Stop, Export, Remove and GC do what
// their commands say, and so do AddApp, StartApp, StopApp and RemoveApp with
// single apps of a mutable pod. One file per verb.
//
// # Invariants
//
// A pod's overlays are mounted in a mount namespace of the pod's own, made
// before the first mount; the host's mount table never shows them. Programs of
// stage1 that act on a pod from outside (enter, stop, gc) are taken from the
// tree store, never from the pod, which its apps may have changed.
//
// What Prepare returns is durable: a pod that is later found in prepared, run
// or exited-garbage has all its files, whatever happened to the machine.
//
// Any verb may be killed at any instant. What it leaves is a pod in some state
// that Remove and GC can delete without manual work, or a left-over in DATA/tmp
// that GC collects.
//
// An app of a mutable pod comes whole or not at all: until it is complete it is
// marked as unfinished, cannot be started, and goes with the next AddApp or
// RemoveApp of its name.
//
// # Lock order
//
// Prepare lock, pod lock, manifest lock (of single apps), then the locks of the
// stores. Programs of stage1 that are run under the manifest lock must not take it.
//
//	p, err := stage0.Prepare(ctx, stage0.PrepareConfig{Env: env, Stage1: s1, Apps: apps})
//	if err != nil {
//		return err
//	}
//	return stage0.Run(ctx, p, stage0.RunConfig{Env: env, Environ: os.Environ()})
package stage0
