// SPDX-License-Identifier: Apache-2.0

// Package control holds the entrypoints that end a pod from outside and collect
// what it has left: stop and gc. The working directory is the pod directory.
//
// Source: spec stage1.md 8.3 and 8.4, pods.md 7 and 8.3.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/networking/call"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// patience is how long processes may take to die.
const patience = 10 * time.Second

// pace is how often they are looked at where nothing tells of their end.
const pace = 5 * time.Millisecond

// Stop asks the supervisor of the pod to end it, or ends both at once.
func Stop(argv []string) error {
	s, err := entrypoint.ParseStop(argv)
	if err != nil {
		return err
	}
	sig := unix.SIGTERM
	if s.Force {
		// The supervisor first: it must not see the pod die and end with a
		// status of its own. The kernel kills systemd-nspawn with it.
		sig = unix.SIGKILL
	}
	err = signalSupervisor(sig)
	if err == nil {
		err = failpoint.Hit("stop.signalled")
	}
	if !s.Force {
		return err
	}
	return errors.Join(err, killCgroups(s.UUID), failpoint.Hit("stop.killed"), awaitLock())
}

// awaitLock waits until nothing of the pod holds its lock any more: a pod that
// was ended by force can be collected when stop returns.
func awaitLock() error {
	dir, err := os.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	for end := time.Now().Add(patience); ; time.Sleep(pace) {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		if time.Now().After(end) {
			return errors.New("the pod was killed, and still somebody holds its lock")
		}
	}
}

// awaitSupervisor reads who supervises the pod. A pod that has just been
// started says so some milliseconds later.
func awaitSupervisor() ([]byte, error) {
	for end := time.Now().Add(patience); ; time.Sleep(pace) {
		data, err := os.ReadFile(poddir.Supervisor)
		if !errors.Is(err, fs.ErrNotExist) || time.Now().After(end) || lockIsFree() {
			return data, err
		}
	}
}

// lockIsFree tells whether nothing of the pod runs.
func lockIsFree() bool {
	dir, err := os.Open(".")
	if err != nil {
		return true
	}
	defer func() { _ = dir.Close() }()
	return unix.Flock(int(dir.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
}

func signalSupervisor(sig unix.Signal) error {
	data, err := awaitSupervisor()
	if err != nil {
		return err
	}
	var sup profile.Process
	if err := json.Unmarshal(data, &sup); err != nil || sup.PID <= 1 {
		return fmt.Errorf("%s is damaged", poddir.Supervisor)
	}
	// Opened, then checked, then signalled: it is the same process.
	fd, err := unix.PidfdOpen(sup.PID, 0)
	if err != nil {
		return fmt.Errorf("supervisor of the pod, process %d: %w", sup.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	start, err := profile.StartTime(sup.PID)
	if err != nil || start != sup.StartTime {
		return errors.New("the supervisor of the pod has ended")
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		return fmt.Errorf("signal the supervisor of the pod, process %d: %w", sup.PID, err)
	}
	return nil
}

// GC removes what a pod that has ended leaves outside its directory. It works
// on a pod that died at any point and may be repeated.
func GC(argv []string) error {
	g, err := entrypoint.ParseGC(argv)
	if err != nil {
		return err
	}
	var errs []error
	errs = append(errs, removeJournalLink(g.UUID), failpoint.Hit("stage1-gc.link-removed"))
	if paths, err := recordedCgroups(); err != nil {
		errs = append(errs, err)
	} else if len(paths) > 0 {
		// The lock is free, so what is left in there is a stray.
		errs = append(errs, killCgroups(g.UUID), failpoint.Hit("stage1-gc.killed"))
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		errs = append(errs, cgroup.Remove(ctx, paths, g.UUID.Scope()), failpoint.Hit("stage1-gc.cgroups-removed"))
	}
	errs = append(errs, tearDownNetworks(g), failpoint.Hit("stage1-gc.networks-removed"))
	return errors.Join(errs...)
}

// tearDownNetworks takes the pod off its networks, if it has any.
func tearDownNetworks(g entrypoint.GC) error {
	nets, err := netinfo.Read(poddir.NetInfo)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(nets) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	g.Path = "gc"
	cmd := exec.Command(filepath.Join(poddir.Stage1Rootfs, call.Program)) //nolint:gosec // of the read-only tree of stage1
	cmd.Args = append([]string{"net"}, g.Argv(entrypoint.CurrentVersion)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

// removeJournalLink removes the link to the pod's journal in the host's, if it
// leads into a pod.
func removeJournalLink(id poddir.UUID) error {
	machine := strings.ReplaceAll(id.String(), "-", "")
	link := filepath.Join("/", poddir.JournalDir, machine)
	target, err := os.Readlink(link)
	if err != nil || !strings.Contains(target, id.String()) {
		return nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("journal link: %w", err)
	}
	return nil
}

func killCgroups(id poddir.UUID) error {
	paths, err := recordedCgroups()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return cgroup.Kill(ctx, paths, id.Scope())
}

func recordedCgroups() ([]string, error) {
	data, err := os.ReadFile(poddir.Cgroups)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), nil
}
