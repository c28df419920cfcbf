// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Annotations of a stage1 image manifest. The value of all but the last is the
// absolute path of a program inside the root file system of the image.
const (
	AnnotationRun              = "coreos.com/rkt/stage1/run"
	AnnotationEnter            = "coreos.com/rkt/stage1/enter"
	AnnotationGC               = "coreos.com/rkt/stage1/gc"
	AnnotationStop             = "coreos.com/rkt/stage1/stop"
	AnnotationAppAdd           = "coreos.com/rkt/stage1/app/add"
	AnnotationAppRm            = "coreos.com/rkt/stage1/app/rm"
	AnnotationAppStart         = "coreos.com/rkt/stage1/app/start"
	AnnotationAppStop          = "coreos.com/rkt/stage1/app/stop"
	AnnotationAttach           = "coreos.com/rkt/stage1/attach"
	AnnotationLogs             = "coreos.com/rkt/stage1/logs"
	AnnotationInterfaceVersion = "coreos.com/rkt/stage1/interface-version"
)

// AnnotationMapsUsers with the value "true": see MapsUsers.
const AnnotationMapsUsers = "coreos.com/rkt/stage1/maps-users"

// AnnotationNet names the program that does what is asked about the networks of
// a pod: see Net.
const AnnotationNet = "coreos.com/rkt/stage1/net"

// AnnotationNetNS with the value "pinned": see PinsNetNS.
const AnnotationNetNS = "coreos.com/rkt/stage1/netns"

// PinsNetNS tells whether the image wants stage0 to make the pod's network
// namespace, unless that is the host's, and to pin it at the path in the file
// netns of the pod directory. stage0 unpins it when it deletes the pod.
func PinsNetNS(m *appc.ImageManifest) bool {
	v, _ := m.Annotations.Get(AnnotationNetNS)
	return v == "pinned"
}

// AnnotationGCNeeds may name, comma separated, files of a pod directory: if
// none of them is there, the gc entrypoint would find nothing to do and need
// not be run. Images without it have it run always.
const AnnotationGCNeeds = "coreos.com/rkt/stage1/gc-needs"

// GCNeeds returns the file names of AnnotationGCNeeds. A value that is no list
// of plain names counts as absent.
func GCNeeds(m *appc.ImageManifest) (files []string, ok bool) {
	v, ok := m.Annotations.Get(AnnotationGCNeeds)
	if !ok {
		return nil, false
	}
	for name := range strings.SplitSeq(v, ",") {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return nil, false
		}
		files = append(files, name)
	}
	return files, true
}

// MutableAnnotation of a pod manifest is "true" for a pod made by "app sandbox".
const MutableAnnotation = "coreos.com/rkt/stage1/mutable"

// Annotations of an app in the pod manifest: what its standard streams are.
const (
	AnnotationStdin  = "coreos.com/rkt/stage2/stdin"
	AnnotationStdout = "coreos.com/rkt/stage2/stdout"
	AnnotationStderr = "coreos.com/rkt/stage2/stderr"
)

// Interface versions in which a feature appeared.
const (
	versionHostname    = 2
	versionInsecure    = 3
	versionDNS         = 4
	versionLocalConfig = 5 // of gc
	versionIPC         = 6

	// CurrentVersion is the newest interface version this package speaks.
	CurrentVersion = versionIPC
)

// NotFoundError says that a stage1 image lacks an entrypoint.
type NotFoundError struct{ Annotation string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("entrypoint %q not found", e.Annotation) }

// ErrMutable is returned by CheckMutable.
var ErrMutable = errors.New("stage1 does not support mutable pods")

// Lookup returns the path of an entrypoint inside the root file system of the
// stage1 image with manifest m: absolute and clean, so that it cannot climb
// out of the tree it is joined to. A missing one is a *NotFoundError.
func Lookup(m *appc.ImageManifest, annotation string) (string, error) {
	v, ok := m.Annotations.Get(annotation)
	if !ok || v == "" {
		return "", &NotFoundError{Annotation: annotation}
	}
	p := path.Clean("/" + v)
	if p == "/" {
		return "", fmt.Errorf("entrypoint %q: %q is not a program", annotation, v)
	}
	return p, nil
}

// Version returns the interface version of a stage1 image, 1 if it names none.
func Version(m *appc.ImageManifest) (int, error) {
	v, ok := m.Annotations.Get(AnnotationInterfaceVersion)
	if !ok {
		return 1, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, fmt.Errorf("error parsing interface version: %w", err)
	}
	return n, nil
}

// MapsUsers tells whether the image starts pods with a user namespace from an
// overlay of idmapped layers: what it writes there it writes as the pod's root,
// because the host's cannot.
func MapsUsers(m *appc.ImageManifest) bool {
	v, _ := m.Annotations.Get(AnnotationMapsUsers)
	return v == "true"
}

// CheckMutable returns ErrMutable unless the image has every entrypoint that
// a mutable pod needs.
func CheckMutable(m *appc.ImageManifest) error {
	for _, a := range []string{AnnotationAppAdd, AnnotationAppRm, AnnotationAppStart, AnnotationAppStop} {
		if _, err := Lookup(m, a); err != nil {
			return ErrMutable
		}
	}
	return nil
}
