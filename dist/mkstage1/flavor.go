// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// flavor says what one kind of stage1 image has.
type flavor struct {
	name string
	// entrypoints are the annotations that name programs. All programs are
	// names of one multi-call binary.
	entrypoints map[string]string
	// helpers are further names of it, used inside the pod.
	helpers []string
	// gcNeeds are the files of a pod without any of which gc has nothing to do;
	// none means that gc is always called.
	gcNeeds []string
	// systemd tells that systemd runs the pod: the image has its units.
	systemd bool
	// userSpace tells that systemd and all it needs are in the image.
	userSpace bool
	// machine tells that the pod runs in a virtual machine, in which the image is
	// a stage1-coreos: the entrypoints named in others are of another program.
	machine bool
	others  map[string]string
}

func findFlavor(name string) (flavor, error) {
	for _, f := range flavors() {
		if f.name == name {
			return f, nil
		}
	}
	return flavor{}, fmt.Errorf("unknown flavor %q", name)
}

func flavors() []flavor {
	pod := map[string]string{
		entrypoint.AnnotationRun:      "/init",
		entrypoint.AnnotationEnter:    "/enter",
		entrypoint.AnnotationGC:       "/gc",
		entrypoint.AnnotationStop:     "/stop",
		entrypoint.AnnotationAppAdd:   "/app_add",
		entrypoint.AnnotationAppRm:    "/app_rm",
		entrypoint.AnnotationAppStart: "/app_start",
		entrypoint.AnnotationAppStop:  "/app_stop",
		entrypoint.AnnotationAttach:   "/attach",
		entrypoint.AnnotationLogs:     "/logs",
	}
	helpers := []string{"/launch", "/post-stop"}
	return []flavor{
		{name: "coreos", entrypoints: pod, helpers: helpers, systemd: true, userSpace: true},
		{name: "host", entrypoints: pod, helpers: helpers, systemd: true},
		{
			// Inside the machine the programs have the names they have in coreos.
			name: "kvm",
			entrypoints: map[string]string{
				entrypoint.AnnotationGC:   "/gc",
				entrypoint.AnnotationStop: "/stop",
				entrypoint.AnnotationLogs: "/logs",
			},
			others: map[string]string{
				entrypoint.AnnotationRun:   "/" + kvmRun,
				entrypoint.AnnotationEnter: "/" + kvmEnter,
			},
			helpers: append([]string{"/init", "/enter", "/app_start", "/app_stop", "/attach"}, helpers...),
			systemd: true, userSpace: true, machine: true,
		},
		{
			name: "fly",
			entrypoints: map[string]string{
				entrypoint.AnnotationRun:   "/run",
				entrypoint.AnnotationEnter: "/enter",
				entrypoint.AnnotationGC:    "/gc",
				entrypoint.AnnotationStop:  "/stop",
			},
			gcNeeds: []string{poddir.Cgroups, poddir.Subcgroup},
		},
	}
}

// annotationPackages has the Debian packages of the image, name=version,
// separated by commas; the same is in packagesFile.
const annotationPackages = "coreos.com/rkt/stage1/packages"

// annotationPlugins has the module of the upstream CNI plugins, path@version.
const annotationPlugins = "coreos.com/rkt/stage1/plugins"

// sources are where the parts of an image that are not rkt's own are from.
type sources struct {
	packages []debianPackage
	plugins  string
}

// manifest is the image manifest, its annotations in order.
func (f flavor) manifest(version, goarch string, from sources) ([]byte, error) {
	hostOS, arch := appc.OSArch("linux", goarch)
	if err := appc.RunnableOSArch(hostOS, arch); err != nil {
		return nil, err
	}
	annotations := map[string]string{entrypoint.AnnotationInterfaceVersion: strconv.Itoa(entrypoint.CurrentVersion)}
	for a, path := range f.entrypoints {
		annotations[a] = path
	}
	for a, path := range f.others {
		annotations[a] = path
	}
	if f.systemd && !f.machine {
		annotations[entrypoint.AnnotationMapsUsers] = "true"
	}
	if f.systemd {
		annotations[entrypoint.AnnotationNet] = "/" + netProgram
		annotations[entrypoint.AnnotationNetNS] = "pinned"
		annotations[annotationPlugins] = from.plugins
	}
	if len(f.gcNeeds) > 0 {
		annotations[entrypoint.AnnotationGCNeeds] = strings.Join(f.gcNeeds, ",")
	}
	if len(from.packages) > 0 {
		var list []string
		for _, p := range from.packages {
			list = append(list, p.name+"="+p.version)
		}
		annotations[annotationPackages] = strings.Join(list, ",")
	}
	m := appc.ImageManifest{
		ACKind: "ImageManifest", ACVersion: appc.ACVersion, Name: appc.Identifier("coreos.com/rkt/stage1-" + f.name),
		Labels: appc.Labels{{Name: "arch", Value: arch}, {Name: "os", Value: hostOS}, {Name: "version", Value: version}},
	}
	for name, value := range annotations {
		m.Annotations = append(m.Annotations, appc.Annotation{Name: appc.Identifier(name), Value: value})
	}
	slices.SortFunc(m.Annotations, func(a, b appc.Annotation) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return m.Marshal()
}

// addProgram puts the binary into the tree under all its names.
func (f flavor) addProgram(t tree, body []byte) {
	var names []string
	for _, path := range f.entrypoints {
		names = append(names, strings.TrimPrefix(path, "/"))
	}
	for _, path := range f.helpers {
		names = append(names, strings.TrimPrefix(path, "/"))
	}
	slices.Sort(names)
	t.file(names[0], 0o755, body)
	for _, name := range names[1:] {
		t.hardlink(name, names[0])
	}
}
