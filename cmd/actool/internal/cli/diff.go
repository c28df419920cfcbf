// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/aci"
)

func newDiff() command {
	return command{
		name: "diff", args: "A.aci B.aci", summary: "Compare two images",
		description: "Prints what only A has (-), what only B has (+) and what is different (!), with what\n" +
			"is different about it. The exit status is 1 if there is anything. The order of entries and\n" +
			"the compression do not count.",
		run: func(ctx context.Context, d *Deps, args []string) error {
			err := runDiff(ctx, d, args)
			if err != nil && !errors.Is(err, errReported) {
				return fmt.Errorf("diff: %w", err)
			}
			return err
		},
	}
}

// facts are what is compared of one entry, by what it is called.
type facts map[string]string

func runDiff(ctx context.Context, d *Deps, args []string) error {
	if len(args) != 2 {
		return errors.New("must provide two files")
	}
	a, err := readFacts(ctx, args[0])
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", args[0], err)
	}
	b, err := readFacts(ctx, args[1])
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", args[1], err)
	}
	var out strings.Builder
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch {
		case b[name] == nil:
			fmt.Fprintf(&out, "- %q\n", name)
		case a[name] == nil:
			fmt.Fprintf(&out, "+ %q\n", name)
		default:
			if what := differing(a[name], b[name]); what != "" {
				fmt.Fprintf(&out, "! %q: %s\n", name, what)
			}
		}
	}
	if out.Len() == 0 {
		return nil
	}
	if _, err := io.WriteString(d.Stdout, out.String()); err != nil {
		return err
	}
	return errReported
}

func differing(a, b facts) string {
	var list []string
	for _, what := range slices.Sorted(maps.Keys(a)) {
		switch {
		case a[what] == b[what]:
		case what == "content":
			list = append(list, what)
		default:
			list = append(list, fmt.Sprintf("%s %s, %s", what, a[what], b[what]))
		}
	}
	return strings.Join(list, "; ")
}

// readFacts reads a whole image, which has to be a valid one.
func readFacts(ctx context.Context, path string) (map[string]facts, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	if _, err := aci.Validate(ctxReader{ctx, f}); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	plain, _, err := aci.Open(ctxReader{ctx, f})
	if err != nil {
		return nil, err
	}
	defer func() { _ = plain.Close() }() // only read
	found := map[string]facts{}
	for in := tar.NewReader(plain); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		name, err := aci.CleanName(h.Name)
		if err != nil {
			return nil, err
		}
		if found[name], err = factsOf(h, in); err != nil {
			return nil, err
		}
	}
}

func factsOf(h *tar.Header, content io.Reader) (facts, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, content); err != nil {
		return nil, err
	}
	xattrs := map[string]string{}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			xattrs[name] = value
		}
	}
	f := facts{
		"type": fmt.Sprintf("%q", h.Typeflag), "mode": fmt.Sprintf("%#o", h.Mode),
		"owner": fmt.Sprintf("%d:%d", h.Uid, h.Gid), "size": fmt.Sprint(h.Size), "link": fmt.Sprintf("%q", h.Linkname),
		"device": fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor), "content": string(sum.Sum(nil)), "xattrs": fmt.Sprintf("%q", xattrs),
	}
	if h.Name != aci.ManifestName {
		f["time"] = h.ModTime.UTC().Format("2006-01-02T15:04:05.999999999Z")
	}
	return f, nil
}
