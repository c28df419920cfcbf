// SPDX-License-Identifier: Apache-2.0

package complete

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// maxNetConf and maxNetFiles bound what is read of a directory with networks.
const (
	maxNetConf  = 1 << 20
	maxNetFiles = 200
)

// NetDir is a directory with configurations of networks: files with one of
// these extensions.
type NetDir struct {
	Path       string
	Extensions []string
}

// Networks implements Sources. Which of several networks of one name counts
// makes no difference for a name.
func (s Live) Networks() []Candidate {
	list := []Candidate{{"default", "built in"}, {"default-restricted", "built in"}}
	for _, dir := range s.NetDirs {
		entries, err := os.ReadDir(dir.Path)
		if err != nil {
			continue
		}
		for _, e := range entries[:min(len(entries), maxNetFiles)] {
			path := filepath.Join(dir.Path, e.Name())
			if s.late(len(list)) != nil || !slices.Contains(dir.Extensions, filepath.Ext(path)) {
				continue
			}
			if name := netName(path); name != "" {
				list = append(list, Candidate{name, path})
			}
		}
	}
	return list
}

// netName is the name in a configuration, "" if it has none or cannot be read.
// A pipe in place of the file is not waited for.
func netName(path string) string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return ""
	}
	data, err := io.ReadAll(io.LimitReader(f, maxNetConf))
	if err != nil {
		return ""
	}
	var conf struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(data, &conf) != nil {
		return ""
	}
	return conf.Name
}
