// SPDX-License-Identifier: Apache-2.0

package mds

import "path/filepath"

// Dir is the directory with the files of the service. Only tests use another
// one than Default.
type Dir string

// Default is where the service of a machine has its files.
const Default Dir = "/run/rkt"

// LockKey is the file in Dir whose lock says that a service runs.
const LockKey = "metadata-svc.lock"

// Socket is where pods are registered.
func (d Dir) Socket() string { return d.file("metadata-svc.sock") }

// Key is the key of signatures; root only.
func (d Dir) Key() string { return d.file("metadata-svc.key") }

// DataDirs lists the data directories of registered pods, one a line.
func (d Dir) DataDirs() string { return d.file("metadata-svc.dirs") }

func (d Dir) endpoint() string { return d.file("metadata-svc.port") }

func (d Dir) file(name string) string { return filepath.Join(string(d), name) }
