// SPDX-License-Identifier: Apache-2.0

package fly

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appmount"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/isolator"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// dockerAnnotations is the prefix of the annotations of a converted image.
const dockerAnnotations = "appc.io/docker/"

// pod is what the manifests say, checked against what fly can do.
type pod struct {
	runtime appc.RuntimeApp
	image   *appc.ImageManifest
	app     *appc.App
	limits  *isolator.Plan // of the app
	whole   *isolator.Plan // of the pod, which is the same process here
	mounts  appmount.Plan
	streams [3]bool // those that are to be /dev/null
	noNet   bool    // --net=none
	docker  bool
	// metadataURL is where the app finds the metadata service, empty if it does not.
	metadataURL string
}

// UnsupportedError says that fly cannot honour a setting.
type UnsupportedError struct{ Feature string }

func (e *UnsupportedError) Error() string {
	return "the fly flavor does not support " + e.Feature
}

// load reads the manifests of the pod and refuses what fly cannot do.
func load(r entrypoint.Run) (*pod, error) {
	if r.Mutable {
		return nil, entrypoint.ErrMutable
	}
	if r.PrivateUsers != "" {
		return nil, &UnsupportedError{Feature: "user namespaces (--private-users)"}
	}
	switch r.IPC {
	case "", "auto", "parent", "private":
	default:
		return nil, fmt.Errorf("invalid IPC mode %q: it is auto, private or parent", r.IPC)
	}
	data, err := os.ReadFile(poddir.PodManifest)
	if err != nil {
		return nil, err
	}
	manifest, err := appc.ParsePodManifest(data)
	if err != nil {
		return nil, fmt.Errorf("pod manifest: %w", err)
	}
	if len(manifest.Apps) != 1 {
		return nil, errors.New("fly only supports 1 application per Pod for now")
	}
	p := &pod{runtime: manifest.Apps[0]}
	if p.noNet, err = withoutNet(r.Net); err != nil {
		return nil, err
	}
	if err := p.loadStreams(); err != nil {
		return nil, err
	}
	if err := p.loadImage(); err != nil {
		return nil, err
	}
	if err := p.checkHandlers(); err != nil {
		return nil, err
	}
	if err := p.loadIsolators(manifest); err != nil {
		return nil, err
	}
	p.mounts, err = appmount.New(appmount.Request{
		App:         p.runtime.Name,
		Mounts:      p.runtime.Mounts,
		MountPoints: p.app.MountPoints,
		Volumes:     manifest.Volumes,
		CopyUp:      p.docker,
	})
	return p, err
}

func (p *pod) loadImage() error {
	name := p.runtime.Name.String()
	data, err := os.ReadFile(filepath.Join(poddir.Stage1Rootfs, poddir.AppManifest(name)))
	if err != nil {
		return err
	}
	if p.image, err = appc.ParseImageManifest(data); err != nil {
		return fmt.Errorf("image manifest of app %q: %w", name, err)
	}
	for _, a := range p.image.Annotations {
		p.docker = p.docker || strings.HasPrefix(string(a.Name), dockerAnnotations)
	}
	if p.app = p.runtime.App; p.app == nil {
		p.app = p.image.App
	}
	if p.app == nil {
		return errors.New("no app section in the pod manifest or the image manifest")
	}
	if len(p.app.Exec) == 0 || p.app.Exec[0] == "" {
		return fmt.Errorf(`image %q has an empty "exec" (try --exec=BINARY)`, p.image.Name)
	}
	return nil
}

// checkHandlers: the app replaces this process, so nobody is left to run
// something after it.
func (p *pod) checkHandlers() error {
	for _, h := range p.app.EventHandlers {
		if h.Name != appc.PreStart {
			return &UnsupportedError{Feature: fmt.Sprintf("the event handler %q", h.Name)}
		}
		if len(h.Exec) == 0 || !strings.HasPrefix(h.Exec[0], "/") {
			return fmt.Errorf("event handler %q: the program needs an absolute path", h.Name)
		}
	}
	return nil
}

// loadIsolators makes the plans. A resource limit of the image's own that fly
// does not know is skipped with a warning; everything else unknown is refused.
func (p *pod) loadIsolators(m *appc.PodManifest) (err error) {
	var own appc.Isolators
	if p.image.App != nil {
		own = p.image.App.Isolators
	}
	if p.limits, err = isolator.Parse(isolator.Mark(p.app.Isolators, own)); err != nil {
		return err
	}
	if p.whole, err = isolator.ParsePod(m.Isolators); err != nil {
		return err
	}
	if len(p.whole.Sysctls) > 0 {
		return &UnsupportedError{Feature: fmt.Sprintf("the isolator %s (--sysctl): the namespaces are the host's", isolator.Sysctl)}
	}
	if p.limits.SELinux != nil {
		return &UnsupportedError{Feature: "the isolator " + isolator.SELinuxContext}
	}
	for _, item := range append(p.limits.Other, p.whole.Other...) {
		if item.Origin == isolator.FromImage && strings.HasPrefix(string(item.Name), "resource/") {
			say(fmt.Sprintf("warning: %s isolator set but not supported by the fly flavor, skipping", item.Name))
			continue
		}
		return &UnsupportedError{Feature: fmt.Sprintf("the isolator %s", item.Name)}
	}
	return nil
}

// withoutNet tells whether the app is to have no network. "default" is what
// stage0 passes when nothing was asked for; any other network would keep the
// app apart from the host, which fly cannot.
func withoutNet(list string) (bool, error) {
	none := false
	for item := range strings.SplitSeq(list, ",") {
		switch name, _, _ := strings.Cut(item, ":"); name {
		case "", "default", "host":
		case "none":
			none = true
		default:
			return false, &UnsupportedError{Feature: fmt.Sprintf("the network %q (--net): it has the host's, or none", name)}
		}
	}
	return none, nil
}

// loadStreams reads what the standard streams are to be. They are those of
// the caller, or nothing: there is nobody in the pod to attach to.
func (p *pod) loadStreams() error {
	for fd, name := range []string{entrypoint.AnnotationStdin, entrypoint.AnnotationStdout, entrypoint.AnnotationStderr} {
		mode, _ := p.runtime.Annotations.Get(name)
		switch mode {
		case "", "log", "interactive":
		case "null":
			p.streams[fd] = true
		default:
			return &UnsupportedError{Feature: fmt.Sprintf("the mode %q of %s", mode, path.Base(name))}
		}
	}
	return nil
}
