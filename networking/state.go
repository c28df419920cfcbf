// SPDX-License-Identifier: Apache-2.0

package networking

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/networking/call"
	"github.com/rkt/rkt/v2/networking/firewall"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// maxState bounds what is read back.
const maxState = 4 << 20

// state is what later commands need beside net-info.json; the file
// net-state.json.
type state struct {
	NetNS   string       `json:"netns"`
	Plugins []string     `json:"pluginDirs"` // search path at set-up
	Ports   []call.Port  `json:"ports,omitempty"`
	Rules   firewall.Pod `json:"rules"` // of our own
	// Only in DATA/net/pods, where they stand in for the pod directory.
	Tree  string            `json:"stage1Tree,omitempty"`
	Nets  []netinfo.Network `json:"networks,omitempty"`
	Confs [][]byte          `json:"configurations,omitempty"` // of Nets
}

// errDamaged is the error of a file that has something else.
var errDamaged = errors.New("not a record of networks")

func (s *state) write(path string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return atomicfile.WriteNoSync(path, data, 0o600)
}

func readState(path string) (*state, error) {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &state{}, nil
	}
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxState {
		return nil, fmt.Errorf("%s: %w", path, errDamaged)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, errDamaged, err)
	}
	if len(s.Confs) != len(s.Nets) {
		return nil, fmt.Errorf("%s: %w", path, errDamaged)
	}
	return &s, nil
}

func writeInfo(nets []netinfo.Network) error {
	data, err := netinfo.Marshal(nets)
	if err != nil {
		return err
	}
	return atomicfile.WriteNoSync(poddir.NetInfo, data, 0o644)
}

// dataDir is the data directory of the pod whose directory is the working one.
func dataDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(dir))), nil
}

// registryFile has what is needed to sweep a pod's networks without the pod.
func registryFile(data string, id poddir.UUID) string {
	return filepath.Join(data, poddir.NetPods, id.String())
}

// stage1Tree is the tree store ID of stage1, empty without one.
func stage1Tree() string {
	data, err := os.ReadFile(poddir.Stage1TreeStoreID)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
