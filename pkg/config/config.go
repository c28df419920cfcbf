// SPDX-License-Identifier: Apache-2.0

package config

// Kind is a kind of configuration file.
type Kind string

// The kinds, all of version v1.
const (
	KindAuth       Kind = "auth"
	KindDockerAuth Kind = "dockerAuth"
	KindPaths      Kind = "paths"
	KindStage1     Kind = "stage1"
	KindRegistry   Kind = "registry"
)

// Version is the only version of every kind.
const Version = "v1"

// Dirs are the directories of the three levels; an empty one is not read.
type Dirs struct {
	System, Local, User string
}

// Rising are the directories that are set, in rising order of what counts.
func (d Dirs) Rising() (list []string) {
	for _, dir := range []string{d.System, d.Local, d.User} {
		if dir != "" {
			list = append(list, dir)
		}
	}
	return list
}

// Config is the merged configuration. The zero value is that of empty
// directories.
type Config struct {
	// Auth holds HTTP credentials by domain ("host" or "host:port").
	Auth map[string]AuthEntry
	// DockerAuth holds registry credentials by registry ("host[:port]").
	DockerAuth map[string]Basic
	// Registries says by prefix of an image's name ("host[:port][/path]" or
	// "*.host") where registry images come from.
	Registries map[string]Registry
	Paths      Paths
	Stage1     Stage1
	// Warnings are complete sentences for a person, without prefix.
	Warnings []string
}

// Paths is the kind paths: "" means not configured.
type Paths struct {
	Data         string
	Stage1Images string
}

// Stage1 is the kind stage1: Name and Version are both set or both empty.
type Stage1 struct {
	Name, Version, Location string
}

// kindDir is a directory of a level and the kinds its files may have.
type kindDir struct {
	name  string
	kinds []Kind
}

func kindDirs() []kindDir {
	return []kindDir{
		{"auth.d", []Kind{KindAuth, KindDockerAuth}},
		{"paths.d", []Kind{KindPaths}},
		{"registries.d", []Kind{KindRegistry}},
		{"stage1.d", []Kind{KindStage1}},
	}
}
