// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/imagestore"
)

type imageListOptions struct {
	fields   wordsFlag
	sort     wordsFlag
	order    orderFlag
	full     bool
	noLegend bool
	format   formatFlag
	// verified is filled in if the field is asked for: the records have it, not the index.
	verified map[appc.ImageID]string
}

const (
	fieldID         = "id"
	fieldName       = "name"
	fieldSize       = "size"
	fieldImportTime = "importtime"
	fieldLastUsed   = "lastused"
	fieldVerified   = "verified" // only if asked for
)

func newImageList(d *Deps) *cobra.Command {
	fields := []string{fieldID, fieldName, fieldSize, fieldImportTime, fieldLastUsed}
	keys := []string{fieldName, fieldImportTime, fieldLastUsed, fieldSize}
	o := imageListOptions{
		fields: wordsFlag{words: fields, allowed: append(slices.Clone(fields), fieldVerified)},
		sort:   wordsFlag{words: []string{fieldImportTime}, allowed: keys},
	}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List images in the local store",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runImageList(cmd.Context(), d, o) },
	}
	cmd.Flags().Var(&o.fields, "fields", "comma-separated list of fields to display; allowed values: "+quotedList(o.fields.allowed)+
		"; \"verified\" is the fingerprint of the key whose signature was good when the image was fetched")
	cmd.Flags().Var(&o.sort, "sort", "sort the output according to the provided comma-separated list of fields; allowed values: "+quotedList(keys))
	cmd.Flags().Var(&o.order, "order", `choose the sorting order if at least one sort field is provided (--sort); allowed values: "asc", "desc"`)
	cmd.Flags().BoolVar(&o.noLegend, "no-legend", false, "suppress a legend with the list")
	cmd.Flags().BoolVar(&o.full, "full", false, "use long output format")
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

func runImageList(ctx context.Context, d *Deps, o imageListOptions) error {
	store, err := d.Images(ctx)
	if err != nil {
		return err
	}
	images, err := store.List(ctx)
	if err != nil {
		return fmt.Errorf("unable to get the image list: %w", err)
	}
	images, faults := splitFaults(images)
	sortImages(images, o.sort.words, bool(o.order))
	if slices.Contains(o.fields.words, fieldVerified) {
		o.verified = verifiedBy(store, images)
	}
	if o.format != formatTable {
		err = d.printJSON(imagesJSON(images, o.verified), o.format == formatJSONPretty)
	} else {
		err = d.printImages(images, o)
	}
	if err != nil {
		return err
	}
	d.listFaults("images", faults)
	return nil
}

// verifiedBy reads from the records whose signatures were good.
func verifiedBy(store *imagestore.Store, images []imagestore.Info) map[appc.ImageID]string {
	by := make(map[appc.ImageID]string, len(images))
	for i := range images {
		id := images[i].ID
		if r, err := store.Record(id); err == nil && r.Verified != nil {
			by[id] = r.Verified.Fingerprint
		}
	}
	return by
}

func (d *Deps) printImages(images []imagestore.Info, o imageListOptions) error {
	var rows [][]string
	if !o.noLegend {
		rows = append(rows, imageHeader(o.fields.words))
	}
	for i := range images {
		rows = append(rows, imageRow(&images[i], o, d))
	}
	if len(rows) == 0 {
		return nil
	}
	return d.writeOut(table(rows))
}

// splitFaults returns the images of which something is known and what is wrong
// with any, in the order of the image IDs.
func splitFaults(images []imagestore.Info) (known []imagestore.Info, faults []error) {
	slices.SortFunc(images, func(a, b imagestore.Info) int { return cmp.Compare(a.ID, b.ID) })
	for i := range images {
		in := &images[i]
		if in.Err != nil {
			faults = append(faults, fmt.Errorf("image %s: %w", in.ID.Short(), in.Err))
		}
		if in.Name != "" {
			known = append(known, *in)
		}
	}
	return known, faults
}

// sortImages sorts by keys, the first the most important, and by ID.
func sortImages(images []imagestore.Info, keys []string, descending bool) {
	slices.SortFunc(images, func(a, b imagestore.Info) int {
		for _, key := range keys {
			if c := compareImages(&a, &b, key); c != 0 {
				if descending {
					return -c
				}
				return c
			}
		}
		return cmp.Compare(a.ID, b.ID)
	})
}

func compareImages(a, b *imagestore.Info, key string) int {
	switch key {
	case fieldName:
		return cmp.Compare(imageTitle(a), imageTitle(b))
	case fieldImportTime:
		return a.ImportTime.Compare(b.ImportTime)
	case fieldLastUsed:
		return a.LastUsed.Compare(b.LastUsed)
	case fieldSize:
		return cmp.Compare(a.Size, b.Size)
	}
	return 0
}

// imageTitle is name[:version].
func imageTitle(in *imagestore.Info) string {
	if v, ok := in.Labels.Get("version"); ok {
		return string(in.Name) + ":" + v
	}
	return string(in.Name)
}

func imageHeader(fields []string) []string {
	titles := map[string]string{
		fieldID: "ID", fieldName: "NAME", fieldSize: "SIZE",
		fieldImportTime: "IMPORT TIME", fieldLastUsed: "LAST USED",
		fieldVerified: "VERIFIED",
	}
	row := make([]string, len(fields))
	for i, f := range fields {
		row[i] = titles[f]
	}
	return row
}

func imageRow(in *imagestore.Info, o imageListOptions, d *Deps) []string {
	row := make([]string, len(o.fields.words))
	for i, f := range o.fields.words {
		row[i] = imageCell(in, f, o, d)
	}
	return row
}

func imageCell(in *imagestore.Info, field string, o imageListOptions, d *Deps) string {
	full := o.full
	switch {
	case field == fieldID && full:
		return string(in.ID)
	case field == fieldID:
		return in.ID.Short()
	case field == fieldName:
		return imageTitle(in)
	case field == fieldSize && full:
		return strconv.FormatInt(in.Size, 10)
	case field == fieldSize:
		return humanSize(in.Size)
	case field == fieldVerified:
		return cmp.Or(o.verified[in.ID], "-")
	}
	t := in.ImportTime
	if field == fieldLastUsed {
		t = in.LastUsed
	}
	if full {
		return longTime(t.Local())
	}
	return relativeTime(t, d.Now())
}

// imageJSON is an image in `image list`, times in nanoseconds.
type imageJSON struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	ImportTime int64  `json:"import_time"`
	LastUsed   int64  `json:"last_used_time"`
	Size       int64  `json:"size"`
	// Verified is there only if the field is asked for, empty for an image without signature.
	Verified *string `json:"verified,omitempty"`
}

func imagesJSON(images []imagestore.Info, verified map[appc.ImageID]string) []imageJSON {
	out := []imageJSON{}
	for i := range images {
		in := &images[i]
		j := imageJSON{
			ID: string(in.ID), Name: imageTitle(in), Size: in.Size,
			ImportTime: nanoseconds(in.ImportTime), LastUsed: nanoseconds(in.LastUsed),
		}
		if verified != nil {
			by := verified[in.ID]
			j.Verified = &by
		}
		out = append(out, j)
	}
	return out
}

// wordsFlag is a comma-separated list of different words.
type wordsFlag struct {
	words   []string
	allowed []string
}

func (f *wordsFlag) Set(s string) error {
	var words []string
	for word := range strings.SplitSeq(s, ",") {
		if slices.Contains(words, word) {
			return fmt.Errorf("duplicated option %q", word)
		}
		if !slices.Contains(f.allowed, word) {
			return fmt.Errorf("unknown option %q", word)
		}
		words = append(words, word)
	}
	f.words = words
	return nil
}

func (f *wordsFlag) String() string { return strings.Join(f.words, ",") }
func (f *wordsFlag) Type() string   { return "list" }

// orderFlag is true for descending order.
type orderFlag bool

func (f *orderFlag) Set(s string) error {
	switch strings.ToLower(s) {
	case "asc":
		*f = false
	case "desc":
		*f = true
	default:
		return errors.New("wrong sort order")
	}
	return nil
}

func (f *orderFlag) String() string {
	if *f {
		return "desc"
	}
	return "asc"
}

func (f *orderFlag) Type() string { return "order" }
