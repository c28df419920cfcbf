// SPDX-License-Identifier: Apache-2.0

// Package netinfo is what is recorded about the networks of a pod: the file
// net-info.json in its directory, which "rkt list" and "rkt status" show, and
// which teardown goes by. Source: spec networking.md 5.3.
package netinfo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Network is one network of a pod. The first seven keys are those of rkt 1.30.
type Network struct {
	Name       string `json:"netName"`
	ConfPath   string `json:"netConf"`    // the pod's copy, relative to the pod directory
	PluginPath string `json:"pluginPath"` // of the first plugin, as it was executed
	IfName     string `json:"ifName"`
	IP         string `json:"ip"` // IPv4, empty without one
	Args       string `json:"args"`
	Mask       string `json:"mask"` // dotted quad

	IPs        []string        `json:"ips,omitempty"` // all addresses with their prefix length
	Gateway    string          `json:"gateway,omitempty"`
	MAC        string          `json:"mac,omitempty"`
	MTU        int             `json:"mtu,omitempty"`
	CNIVersion string          `json:"cniVersion,omitempty"`
	Result     json.RawMessage `json:"result,omitempty"` // of the last plugin, as CNI 1.0.0 has it
}

// maxSize bounds the file.
const maxSize = 4 << 20

// Read reads the record at path. A pod without networks has the record null,
// and a pod of the host's network has none: then the error is fs.ErrNotExist.
func Read(path string) ([]Network, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxSize {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a record of networks")}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	nets, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return nets, nil
}

// Parse reads a record.
func Parse(data []byte) ([]Network, error) {
	var nets []Network
	if err := json.Unmarshal(data, &nets); err != nil {
		return nil, fmt.Errorf("record of networks: %w", err)
	}
	return nets, nil
}

// Marshal returns a record; without networks it is null.
func Marshal(nets []Network) ([]byte, error) {
	if len(nets) == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(nets)
}

// RegisteredTree returns the tree store ID of the stage1 of a pod by its record
// in DATA/net/pods.
func RegisteredTree(path string) (string, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() || st.Size() > maxSize {
		return "", &fs.PathError{Op: "read", Path: path, Err: errors.New("not a record of networks")}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var r struct {
		Tree string `json:"stage1Tree"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return r.Tree, nil
}
