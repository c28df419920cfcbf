// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage0/internal/privns"
	"github.com/rkt/rkt/v2/stage0/internal/unmount"
)

// ExportConfig says what to pack.
type ExportConfig struct {
	Env
	App       string // empty: the only one
	Output    string // a path that ends in .aci
	Overwrite bool
}

// Export packs the root file system of an app, as an exited pod left it, and
// the app's image manifest into a gzip-compressed ACI. The output appears whole
// or not at all.
func Export(ctx context.Context, p *pod.Pod, c ExportConfig) error {
	if ext := filepath.Ext(c.Output); ext != ".aci" {
		return fmt.Errorf("extension must be .aci (given %s)", c.Output)
	}
	if p.State() != pod.Exited && p.State() != pod.ExitedGarbage {
		return c.notExited(p)
	}
	m, err := p.Manifest()
	if err != nil {
		return err
	}
	app, err := c.chooseApp(m, c.App, "export")
	if err != nil {
		return fmt.Errorf("unable to find app: %w", err)
	}
	// Keeps gc and rm away; it is given back when the pod is closed.
	if err := p.Lock().Try(lock.Shared); err != nil {
		return fmt.Errorf("pod %s: %w", p.UUID(), err)
	}
	x, err := c.load(ctx, p, app)
	if err != nil {
		return err
	}
	return c.writeOutput(func(w io.Writer) error { return x.pack(ctx, w) })
}

// notExited is the refusal of pods that may still change.
func (c *ExportConfig) notExited(p *pod.Pod) error {
	err := errors.New("pod is not exited. Only exited pods can be exported")
	if p.State() == pod.Running {
		return hint.With(err, "stop it first with \"rkt stop %s\"", p.UUID())
	}
	return err
}

// export is what is known of an app before it is packed.
type export struct {
	pod      *pod.Pod
	app      appc.Name
	manifest []byte
	options  aci.PackOptions
	layers   []string // of an overlay pod, top first
}

func (c *ExportConfig) load(ctx context.Context, p *pod.Pod, app appc.Name) (*export, error) {
	x := &export{pod: p, app: app}
	var err error
	if _, x.manifest, err = p.AppImageManifest(app); err != nil {
		return nil, err
	}
	if x.options.ModTime, err = p.Created(); err != nil {
		return nil, err
	}
	usesOverlay, err := p.UsesOverlay()
	if err != nil {
		return nil, err
	}
	if usesOverlay { // its layers have the owners of the image, whatever a user namespace made of them
		x.layers, err = c.layers(ctx, p, app)
		return x, err
	}
	raw, err := p.PrivateUsers()
	if err != nil {
		return nil, err
	}
	users, err := parseUserRange(raw)
	x.options.Shift, x.options.Count = users.shift, users.count
	return x, err
}

// layers returns the directories an overlay pod's app consists of: what it
// wrote, above its image.
func (c *ExportConfig) layers(ctx context.Context, p *pod.Pod, app appc.Name) ([]string, error) {
	id, err := p.AppTreeID(app)
	if err != nil {
		return nil, err
	}
	tree, err := c.Trees.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("image of app %q: %w", app, err)
	}
	rel := poddir.OverlayUpper(id, app.String())
	upper, err := p.OpenDir(rel)
	if errors.Is(err, fs.ErrNotExist) {
		return tree.Lowers, nil // the pod ended before it was mounted
	}
	if err != nil {
		return nil, err
	}
	// No link is on the way, so the path is what was opened. A descriptor
	// would not do: it is of the host's mount namespace.
	_ = upper.Close()
	return append([]string{filepath.Join(p.Path(), rel)}, tree.Lowers...), nil
}

// pack writes the compressed archive.
func (x *export) pack(ctx context.Context, w io.Writer) error {
	zw := gzip.NewWriter(w)
	var err error
	if x.layers != nil {
		err = privns.Do(func() error { return x.packOverlay(ctx, zw) })
	} else {
		err = x.packCopy(ctx, zw)
	}
	if err != nil {
		return fmt.Errorf("pack app %q: %w", x.app, err)
	}
	return zw.Close()
}

// packOverlay puts the layers together once more, read-only, on a thread with
// a mount namespace of its own. The place is any directory of the pod: nobody
// else sees the mount.
func (x *export) packOverlay(ctx context.Context, w io.Writer) error {
	target := filepath.Join(x.pod.Path(), poddir.Stage1Rootfs)
	if err := mountReadOnly(x.layers, target); err != nil {
		return err
	}
	return aci.PackTree(ctx, w, target, x.manifest, x.options)
}

func (x *export) packCopy(ctx context.Context, w io.Writer) error {
	rel := filepath.Join(poddir.Stage1Rootfs, poddir.AppRootfs(x.app.String()))
	mounts, err := unmount.Below(filepath.Join(x.pod.Path(), rel))
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return errors.New("pod has remaining mountpoints. Only pods using overlayfs or with no mountpoints can be exported")
	}
	dir, err := x.pod.OpenDir(rel)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return aci.PackTree(ctx, w, fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), x.manifest, x.options)
}

// writeOutput fills a temporary file beside the output and moves it there.
func (c *ExportConfig) writeOutput(fill func(io.Writer) error) (err error) {
	exists := errors.New("target file exists (try --overwrite)")
	switch st, err := os.Lstat(c.Output); {
	case err != nil:
	case !c.Overwrite:
		return exists
	case st.IsDir():
		return &os.PathError{Op: "overwrite", Path: c.Output, Err: unix.EISDIR}
	}
	f, err := os.CreateTemp(filepath.Dir(c.Output), "."+filepath.Base(c.Output)+".tmp-")
	if err != nil {
		return fmt.Errorf("create output: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err = fill(buffered); err != nil {
		return err
	}
	if err = buffered.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	err = c.finish(f)
	if errors.Is(err, unix.EEXIST) && !c.Overwrite {
		return exists
	}
	return err
}

// FinishError says that an output was written in full, but could not be
// finished: closed, made durable, given its name.
type FinishError struct{ err error }

func (e *FinishError) Error() string { return fmt.Sprintf("finish output: %v", e.err) }
func (e *FinishError) Unwrap() error { return e.err }

// finish gives a written file the name of the output.
func (c *ExportConfig) finish(f *os.File) error {
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return &FinishError{err}
	}
	flags := uint(unix.RENAME_NOREPLACE)
	if c.Overwrite {
		flags = 0
	}
	if err := unix.Renameat2(unix.AT_FDCWD, f.Name(), unix.AT_FDCWD, c.Output, flags); err != nil {
		return &FinishError{&os.LinkError{Op: "rename", Old: f.Name(), New: c.Output, Err: err}}
	}
	if err := atomicfile.SyncDir(filepath.Dir(c.Output)); err != nil {
		return &FinishError{err}
	}
	return nil
}
