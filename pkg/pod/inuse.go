// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// InUse is what pods refer to, for "image gc".
type InUse struct {
	Trees  map[string]bool       // tree store IDs
	Images map[appc.ImageID]bool // images of apps of running pods, as in their manifests
}

// FindInUse collects the tree stores that pods refer to, from the files of
// the pod directories and not from manifests. The caller holds the prepare lock
// exclusively. A running or prepared pod that cannot be read is an error: what
// it needs must not be removed. Others that cannot be read are passed to remark.
func FindInUse(ctx context.Context, dataDir string, remark func(error)) (*InUse, error) {
	u := &InUse{Trees: map[string]bool{}, Images: map[appc.ImageID]bool{}}
	err := Walk(ctx, dataDir, ListedDirs(), func(string) {}, func(p *Pod) error {
		err := u.add(p)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("cannot get treestores of pod %s: %w", p.uuid, err)
		if p.state == Running || p.state == Prepared {
			return err
		}
		// An unfinished preparation or a half deleted pod lacks files.
		if !isAbsent(err) {
			remark(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

func (u *InUse) add(p *Pod) error {
	var problems []error
	id, err := p.Stage1TreeID()
	if err != nil {
		problems = append(problems, err)
	} else {
		u.Trees[id] = true
	}
	apps, err := p.savedApps()
	if err != nil {
		problems = append(problems, err)
	}
	for _, app := range apps {
		id, err := p.AppTreeID(appc.Name(app))
		switch {
		case err == nil:
			u.Trees[id] = true
		case !isAbsent(err): // copied apps have none
			problems = append(problems, err)
		}
	}
	if p.state == Running {
		problems = append(problems, u.addImages(p))
	}
	return errors.Join(problems...)
}

func (u *InUse) addImages(p *Pod) error {
	m, err := p.Manifest()
	if err != nil {
		return err
	}
	for _, app := range m.Apps {
		u.Images[app.Image.ID] = true
	}
	return nil
}

// savedApps lists the directory appsinfo.
func (p *Pod) savedApps() ([]string, error) {
	fd, err := p.openBeneath(poddir.AppsInfo, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), poddir.AppsInfo)
	defer func() { _ = f.Close() }()
	return f.Readdirnames(-1)
}
