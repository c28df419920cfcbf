// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/imagestore"
)

type imageInspectOptions struct {
	image  string
	pretty bool
}

func newImageInspect(d *Deps) *cobra.Command {
	var o imageInspectOptions
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show all that is known about a stored image, as JSON",
		Long:  imageArgHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.image = args[0]
			return runImageInspect(cmd.Context(), d, o)
		},
	}
	cmd.Flags().BoolVar(&o.pretty, "pretty-print", true, "apply indent to format the output")
	return cmd
}

// inspectJSON is an image in `image inspect`.
type inspectJSON struct {
	ID         appc.ImageID      `json:"id"` // all digits, as far as they are known
	Name       string            `json:"name"`
	Labels     map[string]string `json:"labels"`
	Kind       string            `json:"kind"` // aci or oci
	Size       int64             `json:"size"` // of the uncompressed ACI, without trees
	Stored     int64             `json:"stored_size"`
	ImportTime time.Time         `json:"import_time"`
	LastUsed   time.Time         `json:"last_used_time"`
	Digest     string            `json:"manifest_digest,omitempty"`
	Config     string            `json:"config_digest,omitempty"`
	Layers     []inspectLayer    `json:"layers"`
	Sources    []inspectSource   `json:"sources"`
	// Verified is null for an image that was accepted without verification.
	Verified *inspectVerified `json:"verified"`
	Manifest json.RawMessage  `json:"manifest"` // of appc
	// OCIManifest and OCIConfig are as they were received.
	OCIManifest json.RawMessage `json:"oci_manifest,omitempty"`
	OCIConfig   json.RawMessage `json:"oci_config,omitempty"`
}

type inspectLayer struct {
	Digest    string `json:"digest"`
	DiffID    string `json:"diff_id"`
	Size      int64  `json:"size"`
	MediaType string `json:"media_type"`
}

type inspectSource struct {
	URL        string    `json:"url"`
	Downloaded time.Time `json:"downloaded"`
}

type inspectVerified struct {
	Method      string    `json:"method"` // openpgp, cosign or digest
	Fingerprint string    `json:"fingerprint"`
	Prefix      string    `json:"prefix"` // empty for a root key
	Signed      time.Time `json:"signed,omitzero"`
}

func runImageInspect(ctx context.Context, d *Deps, o imageInspectOptions) error {
	store, err := d.Images(ctx)
	if err != nil {
		return err
	}
	id, err := findImage(store, o.image)
	if err != nil {
		return err
	}
	j, err := inspect(ctx, store, id)
	if err != nil {
		return fmt.Errorf("cannot inspect image %s: %w", id, err)
	}
	return d.printJSON(j, o.pretty)
}

func inspect(ctx context.Context, store *imagestore.Store, id appc.ImageID) (*inspectJSON, error) {
	// Before the content is opened, which counts as use.
	list, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := store.Record(id)
	if err != nil {
		return nil, err
	}
	m, err := store.Manifest(id)
	if err != nil {
		return nil, err
	}
	j := &inspectJSON{
		ID: rec.ID, Name: rec.Name.String(), Labels: map[string]string{}, Kind: string(rec.Kind), Size: rec.Size,
		ImportTime: rec.Imported.UTC(), Digest: rec.ManifestDigest, Config: rec.ConfigDigest,
		Layers: []inspectLayer{}, Sources: []inspectSource{},
	}
	if i := slices.IndexFunc(list, func(in imagestore.Info) bool { return in.ID == id.Key() }); i >= 0 {
		j.Stored, j.LastUsed = list[i].Size, list[i].LastUsed.UTC()
	}
	for _, l := range rec.Labels {
		j.Labels[l.Name.String()] = l.Value
	}
	for _, l := range rec.Layers {
		j.Layers = append(j.Layers, inspectLayer(l))
	}
	for _, r := range rec.Remotes {
		j.Sources = append(j.Sources, inspectSource{redacted(r.URL), r.Downloaded.UTC()})
	}
	if v := rec.Verified; v != nil {
		j.Verified = &inspectVerified{v.Method, v.Fingerprint, v.Prefix, v.Signed}
		if v.Method == "" {
			j.Verified.Method = "openpgp"
		}
	}
	if j.Manifest, err = m.Marshal(); err != nil {
		return nil, err
	}
	j.OCIManifest, j.OCIConfig, err = store.OCIDocuments(id)
	if errors.Is(err, imagestore.ErrNotOCI) {
		err = nil
	}
	return j, err
}
