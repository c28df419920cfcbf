// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
)

const (
	netProgram = "usr/lib/rkt/net"
	// pluginDir has the names by which CNI plugins are found. All are names of
	// the network program, which calls the programs in upstreamDir.
	pluginDir   = "usr/lib/rkt/plugins/net"
	upstreamDir = pluginDir + "/upstream"
	// flannel is the plugin that the network program has in itself.
	flannel = "flannel"
)

// networks are the programs of a stage1 whose pods have networks.
type networks struct {
	program string // the network program
	plugins string // directory with the upstream plugins
}

// add puts the programs into the tree and returns the module, with its version,
// that the plugins are from.
func (n networks) add(t tree) (module string, err error) {
	body, err := os.ReadFile(n.program)
	if err != nil {
		return "", err
	}
	t.file(netProgram, 0o755, body)
	t.hardlink(path.Join(pluginDir, flannel), netProgram)
	plugins, err := os.ReadDir(n.plugins)
	if err != nil {
		return "", err
	}
	if len(plugins) == 0 {
		return "", fmt.Errorf("no plugins in %s", n.plugins)
	}
	for _, p := range plugins {
		file := filepath.Join(n.plugins, p.Name())
		from, err := moduleOf(file)
		if err != nil {
			return "", err
		}
		if module == "" {
			module = from
		}
		if from != module {
			return "", fmt.Errorf("%s is of %s, others are of %s", file, from, module)
		}
		if body, err = os.ReadFile(file); err != nil {
			return "", err
		}
		t.file(path.Join(upstreamDir, p.Name()), 0o755, body)
		t.hardlink(path.Join(pluginDir, p.Name()), netProgram)
	}
	return module, nil
}

// moduleOf is the module of a Go program, as path@version.
func moduleOf(file string) (string, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("plugin %s: %w", file, err)
	}
	if info.Main.Path == "" {
		return "", errors.New("plugin " + file + " does not tell its module")
	}
	return info.Main.Path + "@" + info.Main.Version, nil
}
