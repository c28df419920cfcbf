// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/networking/call"
	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage1-kvm/internal/agent"
)

// answerFile has what the host's networking program has said.
const answerFile = "/run/rkt-net-answer.json"

// server runs the programs of stage1.
type server struct {
	lock *os.File // of the pod, as stage0 would hold it
}

// setUp makes the pod directory and its network namespace.
func (s *server) setUp(p agent.Pod) error {
	if err := bind(filepath.Join(ShareDir, ShareStage1), filepath.Join(PodDir, poddir.Stage1Rootfs)); err != nil {
		return err
	}
	if err := bind(filepath.Join(ShareDir, ShareEmpty), filepath.Join(PodDir, poddir.SharedVolumes)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(PodDir, poddir.PodManifest), p.Manifest, 0o644); err != nil {
		return err
	}
	for name, data := range p.Files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
	}
	if err := s.network(p); err != nil {
		return err
	}
	var err error
	if s.lock, err = os.Open(PodDir); err != nil {
		return err
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock the pod: %w", err)
	}
	return nil
}

// network makes the pod's network namespace with the cards in it, and puts a
// program in the place of the one that would set up networks: it has been done.
func (s *server) network(p agent.Pod) error {
	path := netns.Path(p.UUID)
	if err := netns.Pin(path); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(PodDir, poddir.NetNS), []byte(path), 0o644); err != nil {
		return err
	}
	if err := configure(path, p.Interfaces); err != nil {
		return err
	}
	if err := os.WriteFile(answerFile, p.Answer, 0o644); err != nil {
		return err
	}
	return bind(programFile, filepath.Join(PodDir, poddir.Stage1Rootfs, call.Program))
}

// StandIn answers the supervisor of stage1-coreos in place of its networking
// program: the host has set up the networks.
func StandIn([]string) error {
	data, err := os.ReadFile(answerFile)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(data)
	return err
}

// bind shows source at target, too.
func bind(source, target string) error {
	st, err := os.Lstat(source)
	if err != nil {
		return err
	}
	if st.IsDir() {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %s at %s: %w", source, target, err)
	}
	return nil
}
