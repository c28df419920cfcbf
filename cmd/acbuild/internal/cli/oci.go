// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/store/imagestore"
)

const (
	ociConfigType  = "application/vnd.oci.image.config.v1+json"
	ociLayerType   = "application/vnd.oci.image.layer.v1.tar"
	ociRefName     = "org.opencontainers.image.ref.name"
	ociLayoutText  = `{"imageLayoutVersion":"1.0.0"}`
	ociAnnotations = "coreos.com/acbuild/"
)

type ociDescriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type ociManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        ociDescriptor     `json:"config"`
	Layers        []ociDescriptor   `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type ociIndex struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Manifests     []ociDescriptor `json:"manifests"`
}

type ociConfig struct {
	Created      time.Time    `json:"created"`
	Architecture string       `json:"architecture"`
	Variant      string       `json:"variant,omitempty"`
	OS           string       `json:"os"`
	Config       ociAppConfig `json:"config"`
	RootFS       ociRootFS    `json:"rootfs"`
}

type ociAppConfig struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
}

type ociRootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// ociImage is what of a manifest an OCI image can say.
type ociImage struct {
	config      ociConfig
	annotations map[string]string
	refName     string
	dropped     []string // what it cannot
}

// ociPlatform finds the platform with the given labels.
func ociPlatform(os, arch string) (ociconv.Platform, error) {
	for _, p := range []ociconv.Platform{
		{OS: os, Architecture: "amd64"},
		{OS: os, Architecture: "arm64"},
		{OS: os, Architecture: "386"},
		{OS: os, Architecture: "arm", Variant: "v7"},
		{OS: os, Architecture: "arm", Variant: "v6"},
		{OS: os, Architecture: "ppc64le"},
		{OS: os, Architecture: "s390x"},
		{OS: os, Architecture: "riscv64"},
	} {
		if o, a, ok := ociconv.Labels(p); ok && o == os && a == arch {
			return p, nil
		}
	}
	return ociconv.Platform{}, fmt.Errorf("no OCI platform is known for the labels os=%q, arch=%q", os, arch)
}

// convertToOCI says in the words of OCI what a manifest says.
func convertToOCI(m *manifest, created time.Time) (*ociImage, error) {
	os, arch := appc.HostLabels()
	if v, ok := m.Labels.Get("os"); ok {
		os = v
	}
	if v, ok := m.Labels.Get("arch"); ok {
		arch = v
	}
	platform, err := ociPlatform(os, arch)
	if err != nil {
		return nil, err
	}
	image := &ociImage{
		annotations: map[string]string{}, refName: "latest",
		config: ociConfig{Created: created.UTC(), OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant},
	}
	for _, l := range m.Labels {
		switch l.Name {
		case "os", "arch":
		case "version":
			image.refName = l.Value
		default:
			image.label(l)
		}
	}
	for _, a := range m.Annotations {
		image.annotations[a.Name.String()] = a.Value
	}
	if len(m.Dependencies) > 0 {
		return nil, errors.New("an image with dependencies cannot be written as OCI: its layers are not here")
	}
	if len(m.PathWhitelist) > 0 {
		image.dropped = append(image.dropped, "the path whitelist")
	}
	if m.App != nil {
		image.app(m.App)
	}
	return image, nil
}

func (i *ociImage) label(l appc.Label) {
	if i.config.Config.Labels == nil {
		i.config.Config.Labels = map[string]string{}
	}
	i.config.Config.Labels[l.Name.String()] = l.Value
}

func (i *ociImage) app(app *appc.App) {
	config := &i.config.Config
	config.User, config.WorkingDir = app.User+":"+app.Group, app.WorkingDirectory
	if len(app.Exec) > 0 {
		config.Entrypoint, config.Cmd = app.Exec[:1], app.Exec[1:]
	}
	for _, v := range app.Environment {
		config.Env = append(config.Env, v.Name+"="+v.Value)
	}
	for _, p := range app.MountPoints {
		if config.Volumes == nil {
			config.Volumes = map[string]struct{}{}
		}
		config.Volumes[p.Path] = struct{}{}
		i.annotations[ociAnnotations+"mount/"+p.Name.String()] = "path:" + p.Path
		if p.ReadOnly {
			i.dropped = append(i.dropped, "read-only of mount point "+p.Name.String())
		}
	}
	for _, p := range app.Ports {
		if config.ExposedPorts == nil {
			config.ExposedPorts = map[string]struct{}{}
		}
		number := strconv.FormatUint(uint64(p.Port), 10)
		config.ExposedPorts[number+"/"+p.Protocol] = struct{}{}
		i.annotations[ociAnnotations+"port/"+p.Name.String()] = "number:" + number + " protocol:" + p.Protocol
		if p.Count > 1 || p.SocketActivated {
			i.dropped = append(i.dropped, "count and socket activation of port "+p.Name.String())
		}
	}
	for what, n := range map[string]int{
		"isolators": len(app.Isolators), "event handlers": len(app.EventHandlers), "supplementary groups": len(app.SupplementaryGIDs),
	} {
		if n > 0 {
			i.dropped = append(i.dropped, what)
		}
	}
}

// writeOCI writes the image as an OCI layout, a directory or a tar of one,
// and returns the digest of its manifest.
func (c *call) writeOCI(ctx context.Context, b *build, m *manifest, target string, o writeOptions, build aci.BuildOptions) (string, error) {
	image, err := convertToOCI(m, build.ModTime)
	if err != nil {
		return "", err
	}
	for _, what := range image.dropped {
		c.complain("write: warning: OCI images have no place for %s", what)
	}
	if err := checkOCITarget(target, o); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(filepath.Dir(target), ".acbuild-")
	if err != nil {
		return "", err
	}
	layout := filepath.Join(temp, "layout")
	digest, err := writeLayout(ctx, b, m, image, layout, compression.Type(o.compression), build)
	if err == nil {
		err = placeOCI(ctx, layout, target, o)
	}
	if err := errors.Join(err, imagestore.RemoveTree(temp)); err != nil {
		return "", err
	}
	return digest, nil
}

// checkOCITarget refuses to replace a directory that is no layout.
func checkOCITarget(target string, o writeOptions) error {
	if err := checkOutput(target, o.overwrite); err != nil {
		return err
	}
	info, err := os.Lstat(target)
	if err != nil || !info.IsDir() {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(target, "oci-layout")); err != nil || o.format != formatOCILayout {
		return fmt.Errorf("%s is a directory and not an OCI layout", target)
	}
	return nil
}

func placeOCI(ctx context.Context, layout, target string, o writeOptions) error {
	if o.format == formatOCIArchive {
		out, err := createOutput(target, o.overwrite)
		if err != nil {
			return err
		}
		return out.finish(archiveLayout(ctx, out.file, layout))
	}
	if o.overwrite {
		if err := imagestore.RemoveTree(target); err != nil {
			return err
		}
	}
	return renameOutput(layout, target, false)
}

// writeLayout makes the directory dir and returns the digest of the manifest.
func writeLayout(ctx context.Context, b *build, m *manifest, image *ociImage, dir string, kind compression.Type, o aci.BuildOptions) (string, error) {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return "", err
	}
	layer, diffID, err := writeLayer(ctx, b, m, dir, kind, o)
	if err != nil {
		return "", err
	}
	image.config.RootFS = ociRootFS{Type: "layers", DiffIDs: []string{diffID}}
	config, err := writeJSON(dir, ociConfigType, image.config)
	if err != nil {
		return "", err
	}
	top, err := writeJSON(dir, ociconv.OCIManifest, ociManifest{
		SchemaVersion: 2, MediaType: ociconv.OCIManifest, Config: config, Layers: []ociDescriptor{layer}, Annotations: image.annotations,
	})
	if err != nil {
		return "", err
	}
	top.Annotations = map[string]string{ociRefName: image.refName}
	index, err := json.Marshal(ociIndex{SchemaVersion: 2, MediaType: ociconv.OCIIndex, Manifests: []ociDescriptor{top}})
	if err != nil {
		return "", err
	}
	return top.Digest, errors.Join(
		os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644),
		os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(ociLayoutText), 0o644))
}

func blobPath(dir, digest string) string {
	return filepath.Join(dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

func digestOf(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

func writeJSON(dir, mediaType string, value any) (ociDescriptor, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return ociDescriptor{}, err
	}
	sum := sha256.Sum256(data)
	d := ociDescriptor{MediaType: mediaType, Digest: digestOf(sum[:]), Size: int64(len(data))}
	return d, os.WriteFile(blobPath(dir, d.Digest), data, 0o644)
}

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// writeLayer writes the root file system as a layer.
func writeLayer(ctx context.Context, b *build, m *manifest, dir string, kind compression.Type, o aci.BuildOptions) (d ociDescriptor, diffID string, err error) {
	temp := filepath.Join(dir, "blobs", "layer")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return d, "", err
	}
	plain, packed, size := sha256.New(), sha256.New(), &counter{}
	err = compressTo(io.MultiWriter(f, packed, size), kind, func(w io.Writer) error {
		return layerTar(ctx, b, m, io.MultiWriter(w, plain), o)
	})
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return d, "", err
	}
	d = ociDescriptor{MediaType: ociLayerType, Digest: digestOf(packed.Sum(nil)), Size: size.n}
	if kind != compression.None {
		d.MediaType += "+" + string(kind)
	}
	return d, digestOf(plain.Sum(nil)), os.Rename(temp, blobPath(dir, d.Digest))
}

// layerTar writes the tar of a layer: the archive of the image without its
// manifest and with rootfs as its top.
func layerTar(ctx context.Context, b *build, m *manifest, w io.Writer, o aci.BuildOptions) error {
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(aci.BuildLayout(ctx, pw, b.path(imageDir), m, o)) }()
	tr, tw := tar.NewReader(pr), tar.NewWriter(w)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = copyLayerEntry(tw, hdr, tr)
		}
		if err != nil {
			return errors.Join(err, pr.Close())
		}
	}
	return errors.Join(tw.Close(), pr.Close())
}

func copyLayerEntry(tw *tar.Writer, hdr *tar.Header, data io.Reader) error {
	name, ok := strings.CutPrefix(strings.TrimSuffix(hdr.Name, "/"), aci.RootFSName)
	if !ok {
		return nil // the manifest
	}
	if name = strings.TrimPrefix(name, "/"); name == "" {
		name = "."
	}
	if hdr.Typeflag == tar.TypeDir {
		name += "/"
	}
	hdr.Name = name
	if hdr.Typeflag == tar.TypeLink {
		hdr.Linkname = strings.TrimPrefix(hdr.Linkname, aci.RootFSName+"/")
	}
	if base := filepath.Base(hdr.Name); strings.HasPrefix(base, ".wh.") {
		return fmt.Errorf("file %q: an OCI layer cannot have a file of this name", "/"+hdr.Name)
	}
	for key := range hdr.PAXRecords { // the reader has undone it
		if strings.HasPrefix(key, "GNU.sparse.") {
			delete(hdr.PAXRecords, key)
		}
	}
	if hdr.Typeflag == tar.TypeGNUSparse {
		hdr.Typeflag = tar.TypeReg
	}
	hdr.Format = tar.FormatPAX
	if err := tw.WriteHeader(hdr); err != nil {
		return err
	}
	_, err := io.Copy(tw, data)
	return err
}

// archiveLayout writes the tar of a layout, the same for the same blobs.
func archiveLayout(ctx context.Context, w io.Writer, dir string) error {
	tw := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return archiveEntry(tw, name, path, e)
	})
	return errors.Join(err, tw.Close())
}

func archiveEntry(tw *tar.Writer, name, path string, e fs.DirEntry) error {
	hdr := &tar.Header{Name: name, Mode: 0o644, ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
	if e.IsDir() {
		hdr.Name, hdr.Mode, hdr.Typeflag = name+"/", 0o755, tar.TypeDir
		return tw.WriteHeader(hdr)
	}
	info, err := e.Info()
	if err != nil {
		return err
	}
	hdr.Size = info.Size()
	if err := tw.WriteHeader(hdr); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return errors.Join(err, f.Close())
}
