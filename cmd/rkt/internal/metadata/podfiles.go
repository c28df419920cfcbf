// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/mds"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// stamp identifies a version of a pod manifest.
type stamp struct {
	ino         uint64
	size        int64
	sec, nanosc int64
}

func stampOf(p *pod.Pod) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(p.FD(), poddir.PodManifest, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: poddir.PodManifest, Err: err}
	}
	return stamp{ino: st.Ino, size: st.Size, sec: st.Mtim.Sec, nanosc: st.Mtim.Nsec}, nil
}

// openRunning opens a pod that runs: somebody holds its lock.
func openRunning(ctx context.Context, dataDir string, uuid poddir.UUID) (*pod.Pod, error) {
	p, err := pod.Open(ctx, dataDir, uuid)
	if errors.Is(err, pod.ErrNotPresent) {
		return nil, errEnded
	}
	if err != nil {
		return nil, err
	}
	if p.State() != pod.Running {
		_ = p.Close()
		return nil, errEnded
	}
	return p, nil
}

// refresh returns g, or what has taken its place if files have changed. The
// error is errEnded if the pod does not run any more.
func refresh(ctx context.Context, g *registration) (*registration, error) {
	if g.dataDir == "" {
		return g, nil
	}
	p, err := openRunning(ctx, g.dataDir, g.uuid)
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.Close() }()
	now, err := stampOf(p)
	if err != nil {
		return nil, err
	}
	if now != g.stamp {
		return load(p)
	}
	if g.links == nil {
		if links := readLinks(p); links != nil {
			c := g.clone()
			c.links = links
			return c, nil
		}
	}
	return g, nil
}

// load reads the registration that a pod directory holds. The error is
// fs.ErrNotExist if the pod is not registered.
func load(p *pod.Pod) (*registration, error) {
	token, err := readToken(p)
	if err != nil {
		return nil, err
	}
	g := &registration{uuid: p.UUID(), token: token, dataDir: p.DataDir(), images: map[appc.Name]image{}}
	// Before the content: a change that comes in between is seen next time.
	if g.stamp, err = stampOf(p); err != nil {
		return nil, err
	}
	m, err := p.Manifest()
	if err != nil {
		return nil, err
	}
	for _, a := range m.Apps {
		manifest, raw, err := p.AppImageManifest(a.Name)
		if err != nil {
			return nil, err
		}
		g.images[a.Name] = image{manifest, raw}
	}
	g.manifest = reify(m, g.images)
	g.links = readLinks(p)
	return g, nil
}

// reify fills in what a person may leave out of a pod manifest and the image
// says: app sections and the names of images.
func reify(m *appc.PodManifest, images map[appc.Name]image) *appc.PodManifest {
	out := *m
	out.Apps = append([]appc.RuntimeApp{}, m.Apps...)
	for i := range out.Apps {
		a := &out.Apps[i]
		img := images[a.Name].manifest
		if img == nil {
			continue
		}
		if a.App == nil {
			a.App = img.App
		}
		if a.Image.Name == nil {
			name := img.Name
			a.Image.Name = &name
		}
	}
	return &out
}

// readToken reads the token that rkt has put into the pod directory. A file
// that others than its owner may read is none.
func readToken(p *pod.Pod) (string, error) {
	fd, err := unix.Openat(p.FD(), poddir.MDSToken, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: poddir.MDSToken, Err: err}
	}
	f := os.NewFile(uintptr(fd), poddir.MDSToken)
	defer func() { _ = f.Close() }()
	if err := checkSecret(f); err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(f, mds.MaxToken+1))
	if err != nil {
		return "", err
	}
	if !mds.ValidToken(string(data)) {
		return "", fmt.Errorf("pod %s: file %s holds no token", p.UUID(), poddir.MDSToken)
	}
	return string(data), nil
}

// checkSecret refuses a file that somebody else could have read or written.
func checkSecret(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s: not a regular file that only its owner, this user, may read", f.Name())
	}
	return nil
}
