// SPDX-License-Identifier: Apache-2.0

package treestore

import (
	"context"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/layer"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// Directories below the CAS directory (images.md 11.1).
const (
	treeDir   = "tree"
	infoDir   = "treeinfo"
	unpackDir = "unpack"
	lockDir   = "treestorelocks"
)

// Files of a tree.
const (
	rootfsName   = "rootfs"
	manifestName = "manifest"
	hashName     = "hash"
	renderedName = "rendered"
	imageName    = "image"
)

// dirMode is that of the directories above: root's alone (images.md 15).
const dirMode = 0o700 | fs.ModeSetgid

// Prefixes of tree IDs, and of the names in the unpack directory.
const (
	imagePrefix = "deps-"
	layerPrefix = "layer-"

	draftPrefix = "draft-"
	asidePrefix = "aside-"
	trashPrefix = "trash-"
)

const placeSuffix = ".place"

// dir is the directories of the trees. It is the tree sink of the image store.
type dir struct{ cas string }

func (d *dir) path(elem ...string) string {
	return filepath.Join(append([]string{d.cas}, elem...)...)
}

func (d *dir) tree(id string) string   { return d.path(treeDir, id) }
func (d *dir) rootfs(id string) string { return d.path(treeDir, id, rootfsName) }
func (d *dir) index(id string) string  { return d.path(infoDir, id) }
func (d *dir) info(id string) string   { return d.path(infoDir, id+".json") }

func (d *dir) source(id string) layer.Source {
	return layer.Source{Root: d.rootfs(id), Index: d.index(id)}
}

// make creates the directories; only root gets here.
func (d *dir) make() error {
	for _, name := range []string{treeDir, infoDir, unpackDir, lockDir} {
		err := os.Mkdir(d.path(name), dirMode.Perm())
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = os.Chmod(d.path(name), dirMode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// idPattern is what a tree ID looks like: no path can be hidden in it.
var idPattern = regexp.MustCompile(`^(deps-sha512-[0-9a-f]{64}|layer-sha(256-[0-9a-f]{64}|512-[0-9a-f]{128}))$`)

func checkID(id string) error {
	if !idPattern.MatchString(id) {
		return fmt.Errorf("invalid tree store ID %q", id)
	}
	return nil
}

// layerTreeID is the ID of the tree of the layer with a diff ID, "sha256:…".
func layerTreeID(diffID string) string {
	return layerPrefix + strings.Replace(diffID, ":", "-", 1)
}

// treeInfo is the note that lies beside a tree's index.
type treeInfo struct {
	Size   int64        `json:"size"`
	Image  appc.ImageID `json:"image,omitempty"`  // key; of an image's tree
	Layers []string     `json:"layers,omitempty"` // tree IDs, base first; of an OCI image's tree
}

// readInfo returns fs.ErrNotExist unless the tree id is there, whole.
func (d *dir) readInfo(id string) (*treeInfo, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	for _, path := range []string{filepath.Join(d.tree(id), renderedName), d.index(id)} {
		if _, err := os.Lstat(path); err != nil {
			return nil, err
		}
	}
	data, err := os.ReadFile(d.info(id))
	if err != nil {
		return nil, err
	}
	var info treeInfo
	if err := json.Unmarshal(data, &info); err != nil {
		return nil, fmt.Errorf("read %s: %w", d.info(id), err)
	}
	for _, l := range info.Layers {
		if err := checkID(l); err != nil {
			return nil, fmt.Errorf("read %s: %w", d.info(id), err)
		}
	}
	return &info, nil
}

// LayerTree implements imagestore.TreeSink.
func (d *dir) LayerTree(ctx context.Context, diffID string, check bool) (*imagestore.TreeRef, error) {
	return d.open(ctx, layerTreeID(diffID), check)
}

// open holds a tree, and with check compares it with its index.
func (d *dir) open(ctx context.Context, id string, check bool) (_ *imagestore.TreeRef, err error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if err := d.make(); err != nil {
		return nil, err
	}
	hold, err := lock.Key(ctx, d.path(lockDir), id, lock.Shared)
	if err != nil {
		return nil, fmt.Errorf("error locking tree store: %w", err)
	}
	defer func() {
		if err != nil {
			_ = hold.Close()
		}
	}()
	info, err := d.readInfo(id)
	if err != nil {
		return nil, d.asChanged(id, err)
	}
	if check {
		if err := d.check(ctx, id); err != nil {
			return nil, err
		}
	}
	return &imagestore.TreeRef{Source: d.source(id), Size: info.Size, Hold: hold}, nil
}

// asChanged makes a *layer.ChangedError of an error reading what belongs to a
// tree that is there: then the tree is damaged, else there is none.
func (d *dir) asChanged(id string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, serr := os.Lstat(d.tree(id)); serr != nil {
		return serr
	}
	return &layer.ChangedError{Path: ".", What: fmt.Sprintf("incomplete: %v", err)}
}

// check compares a tree with its index, and the index with the tree's hash.
// While that lasts the tree is not exchanged.
func (d *dir) check(ctx context.Context, id string) error {
	l, err := lock.Key(ctx, d.path(lockDir), id+placeSuffix, lock.Shared)
	if err != nil {
		return fmt.Errorf("error locking tree store: %w", err)
	}
	defer func() { _ = l.Close() }()
	if err := d.checkHash(id); err != nil {
		return err
	}
	return layer.CheckStat(ctx, d.source(id))
}

func (d *dir) checkHash(id string) error {
	want, err := os.ReadFile(filepath.Join(d.tree(id), hashName))
	if err != nil {
		return &layer.ChangedError{Path: hashName, What: fmt.Sprintf("cannot read hash file: %v", err)}
	}
	got, err := hashFile(d.index(id))
	if err != nil {
		return &layer.ChangedError{Path: hashName, What: fmt.Sprintf("cannot calculate tree hash: %v", err)}
	}
	if got != string(want) {
		return &layer.ChangedError{Path: hashName, What: fmt.Sprintf("wrong tree hash: %s, expected: %s", got, want)}
	}
	return nil
}

// hashFile is the key-form digest of a file.
func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha512.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return string(appc.ImageIDFromSum(h.Sum(nil)).Key()), nil
}

// ImageSizes implements imagestore.TreeSink.
func (d *dir) ImageSizes(ctx context.Context) (map[appc.ImageID]int64, error) {
	infos, err := d.infos(ctx)
	if err != nil {
		return nil, err
	}
	sizes := map[appc.ImageID]int64{}
	for _, info := range infos {
		if info.Image != "" {
			sizes[info.Image] = sizeOf(info, infos)
		}
	}
	return sizes, nil
}

// sizeOf is the size of an image's tree with its layers, each counted once.
func sizeOf(info *treeInfo, infos map[string]*treeInfo) int64 {
	size := info.Size
	seen := map[string]bool{}
	for _, id := range info.Layers {
		if l := infos[id]; l != nil && !seen[id] {
			size += l.Size
		}
		seen[id] = true
	}
	return size
}

// infos reads the notes of all trees.
func (d *dir) infos(ctx context.Context) (map[string]*treeInfo, error) {
	ids, err := d.ids()
	if err != nil {
		return nil, err
	}
	infos := map[string]*treeInfo{}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if info, err := d.readInfo(id); err == nil {
			infos[id] = info
		}
	}
	return infos, nil
}

// ids lists the trees, whole or not; other names are not ours.
func (d *dir) ids() ([]string, error) {
	names, err := readNames(d.path(treeDir))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, name := range names {
		if checkID(name) == nil {
			ids = append(ids, name)
		}
	}
	return ids, nil
}

// readNames lists a directory in order; one that is not there has no names.
func readNames(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}
