// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rkt/rkt/v2/pkg/failpoint"
	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// TearDown takes the pod whose directory is the working one off its networks.
// It works by the records alone, on a pod that died at any point of its set-up,
// and may be repeated.
func TearDown(ctx context.Context, uuid poddir.UUID, localConfig string, stderr io.Writer, debug bool) error {
	infos, err := netinfo.Read(poddir.NetInfo)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(infos) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := readState(poddir.NetState)
	if err != nil {
		return err
	}
	if len(st.Plugins) == 0 { // a pod of an older rkt
		st.Plugins = []string{filepath.Join(localConfig, confDir), hostPlugins, ownPlugins}
	}
	if st.NetNS == "" {
		st.NetNS = recordedNetNS()
	}
	data, err := dataDir()
	if err != nil {
		return err
	}
	d := newDriver(uuid, data, st.Plugins, st.NetNS, messages{stderr, debug})
	return d.tearDown(ctx, attachments(infos))
}

// Release removes the rules of a pod that has ended. Without it they would take
// connections to its ports away from who has them next, until it is collected.
func Release(uuid poddir.UUID) error {
	r := &rules{}
	return errors.Join(r.Remove(uuid.String()), failpoint.Hit("net.released"))
}

// recordedNetNS is what the file netns says.
func recordedNetNS() string {
	data, err := os.ReadFile(poddir.NetNS)
	if err != nil {
		return ""
	}
	return string(data)
}
