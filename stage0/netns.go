// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/netns"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// pinNetNS makes the network namespace of a pod that is not to have the
// host's, while this process is still in the host's mount namespace: what is
// mounted later is seen by the pod only. Where it is pinned is written down
// first.
func (r *start) pinNetNS() error {
	if r.Net == entrypoint.ModeHost || !entrypoint.PinsNetNS(r.stage1) {
		return nil
	}
	path := netns.Path(r.pod.UUID().String())
	if err := atomicfile.WriteNoSync(r.path(poddir.NetNS), []byte(path), 0o644); err != nil {
		return err
	}
	if err := failpoint.Hit("run.netns-recorded"); err != nil {
		return err
	}
	if err := netns.Pin(path); err != nil {
		return fmt.Errorf("failed to setup network: %w", err)
	}
	if err := failpoint.Hit("run.netns-pinned"); err != nil {
		return errors.Join(err, netns.Unpin(path))
	}
	return nil
}

// unpinNetNS ends the network namespace of a pod that has ended. Its stage1 has
// used it to tear the networks down.
func (d *deleter) unpinNetNS(p *pod.Pod) error {
	data, err := os.ReadFile(filepath.Join(p.Path(), poddir.NetNS))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	path := string(data)
	// Anything else was not pinned by rkt, whichever.
	if filepath.Clean(path) != path || filepath.Dir(path) != netns.Dir || !strings.HasPrefix(filepath.Base(path), "cni-") {
		return fmt.Errorf("pod %q: %q is no network namespace of a pod", p.UUID(), path)
	}
	if err := netns.Unpin(path); err != nil {
		return fmt.Errorf("pod %q: %w", p.UUID(), err)
	}
	return failpoint.Hit("rm.netns-unpinned")
}
