// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/netinfo"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// RawManifest returns the pod manifest as it is on disk.
func (p *Pod) RawManifest() ([]byte, error) {
	data, err := p.readFile(poddir.PodManifest)
	if err != nil {
		return nil, fmt.Errorf("read pod manifest of %s: %w", p.uuid, err)
	}
	return data, nil
}

// Manifest returns the pod manifest. A person may have written it: image IDs
// can be abbreviated, image names and app sections absent.
func (p *Pod) Manifest() (*appc.PodManifest, error) {
	data, err := p.RawManifest()
	if err != nil {
		return nil, err
	}
	m, err := appc.ParsePodManifest(data)
	if err != nil {
		return nil, fmt.Errorf("pod manifest of %s: %w", p.uuid, err)
	}
	return m, nil
}

// AppImageManifest returns the image manifest that was saved for an app when
// the pod was prepared; it survives the removal of the image.
func (p *Pod) AppImageManifest(app appc.Name) (*appc.ImageManifest, []byte, error) {
	data, err := p.readFile(poddir.AppInfoManifest(app.String()))
	if err != nil {
		return nil, nil, fmt.Errorf("read image manifest of app %q: %w", app, err)
	}
	m, err := appc.ParseImageManifest(data)
	if err != nil {
		return nil, nil, fmt.Errorf("image manifest of app %q: %w", app, err)
	}
	return m, data, nil
}

// Stage1Manifest returns the manifest of the pod's stage1 image.
func (p *Pod) Stage1Manifest() (*appc.ImageManifest, error) {
	data, err := p.readFile(poddir.Stage1Manifest)
	if err != nil {
		return nil, fmt.Errorf("read stage1 manifest of %s: %w", p.uuid, err)
	}
	m, err := appc.ParseImageManifest(data)
	if err != nil {
		return nil, fmt.Errorf("stage1 manifest of %s: %w", p.uuid, err)
	}
	return m, nil
}

// Stage1TreeID returns the tree store ID of stage1.
func (p *Pod) Stage1TreeID() (string, error) {
	id, err := p.treeID(poddir.Stage1TreeStoreID)
	if err != nil {
		return "", fmt.Errorf("cannot get stage1 treestoreID for pod %s: %w", p.uuid, err)
	}
	return id, nil
}

// AppTreeID returns the tree store ID of an app of an overlay pod.
func (p *Pod) AppTreeID(app appc.Name) (string, error) {
	id, err := p.treeID(poddir.AppInfoTreeStoreID(app.String()))
	if err != nil {
		return "", fmt.Errorf("cannot get treestoreID of app %q for pod %s: %w", app, p.uuid, err)
	}
	return id, nil
}

func (p *Pod) treeID(rel string) (string, error) {
	data, err := p.readFile(rel)
	if err != nil {
		return "", err
	}
	id := string(data)
	// The ID becomes a path component.
	if id == "" || id == "." || id == ".." || strings.ContainsAny(id, "/\x00\n") {
		return "", fmt.Errorf("%s: invalid tree store ID %q", rel, id)
	}
	return id, nil
}

// UsesOverlay tells whether the pod was prepared for overlay mounts.
func (p *Pod) UsesOverlay() (bool, error) { return p.has(poddir.OverlayPrepared) }

// PrivateUsers returns the user range SHIFT:COUNT of the pod, empty if it has none.
func (p *Pod) PrivateUsers() (string, error) {
	data, err := p.readFile(poddir.PrivateUsersPrepared)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(data), err
}

// Created is the creation time: when preparation ended.
func (p *Pod) Created() (time.Time, error) {
	t, err := p.mtime(poddir.Created)
	if errors.Is(err, fs.ErrNotExist) {
		t, err = p.mtime(poddir.PodManifest) // pods of old versions
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("creation time of pod %s: %w", p.uuid, err)
	}
	return t, nil
}

// Started is the start time, zero if stage1 never got that far.
func (p *Pod) Started() (time.Time, error) {
	for _, name := range []string{poddir.PID, poddir.PPID} {
		t, err := p.mtime(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return t, err
		}
	}
	return time.Time{}, nil
}

// Changed is the ctime of the pod directory: the time of preparation of a
// prepared pod, the time of marking of an exited-garbage one.
func (p *Pod) Changed() (time.Time, error) {
	var st unix.Stat_t
	if err := unix.Fstat(p.lock.FD(), &st); err != nil {
		return time.Time{}, fmt.Errorf("stat pod %s: %w", p.uuid, err)
	}
	return time.Unix(st.Ctim.Unix()), nil
}

// Marked is the time the pod was marked for gc, zero if it is not.
func (p *Pod) Marked() (time.Time, error) {
	if p.dir != poddir.ExitedGarbage && p.dir != poddir.Garbage {
		return time.Time{}, nil
	}
	return p.Changed()
}

// PID returns what "status" shows: the content of the file pid, else of ppid,
// 0 if there is neither.
func (p *Pod) PID() (int, error) {
	for _, name := range []string{poddir.PID, poddir.PPID} {
		n, err := p.readInt(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return n, err
		}
	}
	return 0, nil
}

func (p *Pod) readInt(rel string) (int, error) {
	data, err := p.readFile(rel)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(data)))
	if err != nil {
		return 0, fmt.Errorf("pod %s: %s: %w", p.uuid, rel, err)
	}
	return n, nil
}

// ReadableStage1 is the directory, relative to the pod directory, in which
// files that stage1 wrote are found whether or not anything is mounted.
func (p *Pod) ReadableStage1() (string, error) {
	overlay, err := p.UsesOverlay()
	if err != nil {
		return "", err
	}
	if !overlay {
		return poddir.Stage1Rootfs, nil
	}
	id, err := p.Stage1TreeID()
	if err != nil {
		return "", err
	}
	return filepath.Clean(poddir.OverlayUpper(id, "")), nil
}

// AppStatus is the recorded end of an app.
type AppStatus struct {
	Code     int
	Finished time.Time

	started time.Time // zero: not recorded
}

// AppStatus returns the recorded exit status of an app, nil if there is none.
func (p *Pod) AppStatus(app appc.Name) (*AppStatus, error) {
	s1, err := p.ReadableStage1()
	if err != nil {
		return nil, err
	}
	return p.appStatus(s1, app)
}

func (p *Pod) appStatus(s1 string, app appc.Name) (*AppStatus, error) {
	data, at, err := p.readStat(filepath.Join(s1, poddir.AppStatus(app.String())))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // an app without a status has not ended
	}
	if err != nil {
		return nil, fmt.Errorf("status of app %q: %w", app, err)
	}
	code, err := strconv.Atoi(string(bytes.TrimSpace(data)))
	if err != nil {
		return nil, fmt.Errorf("status of app %q: %w", app, err)
	}
	return &AppStatus{Code: code, Finished: at}, nil
}

// IsReady tells whether the pod's supervisor has signalled readiness.
func (p *Pod) IsReady() (bool, error) {
	s1, err := p.ReadableStage1()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	dir, name := filepath.Split(filepath.Join(s1, poddir.SupervisorStatus))
	fd, err := p.openBeneath(filepath.Clean(dir), unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, len(poddir.SupervisorReady)+1)
	n, err := unix.Readlinkat(fd, name, buf)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "readlink", Path: poddir.SupervisorStatus, Err: err}
	}
	return string(buf[:n]) == poddir.SupervisorReady, nil
}

// Network is one network of a pod, as stage1 recorded it in net-info.json.
type Network = netinfo.Network

// Networks returns the pod's networks; none if stage1 recorded none, or in a
// state in which they mean nothing.
func (p *Pod) Networks() ([]Network, error) {
	if p.state != Running && p.state != Exited && p.state != ExitedGarbage {
		return nil, nil
	}
	data, err := p.readFile(poddir.NetInfo)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("networks of pod %s: %w", p.uuid, err)
	}
	nets, err := netinfo.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("networks of pod %s: %w", p.uuid, err)
	}
	return nets, nil
}
