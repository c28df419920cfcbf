// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/cmd/internal/fetchstore"
	"github.com/rkt/rkt/v2/cmd/rkt/internal/appargs"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/fetch"
	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/ociconv"
	"github.com/rkt/rkt/v2/pkg/overlay"
	"github.com/rkt/rkt/v2/pkg/progress"
	"github.com/rkt/rkt/v2/store/imagestore"
)

type fetchOptions struct {
	images   appargs.Parser
	argsErr  error // what is wrong after the first image
	pull     pullFlags
	download downloadFlags
	full     bool
}

func newFetch(d *Deps) *cobra.Command {
	o := fetchOptions{images: appargs.Parser{NoArgs: true}}
	cmd := &cobra.Command{
		Use:   "fetch [flags] IMAGE [--signature=FILE] [IMAGE...]",
		Short: "Fetch image(s) and store them in the local store",
		Long: "Locates and downloads remote ACIs and docker images and their attached signatures.\n\n" +
			"IMAGE is an image name, a URL or path of an .aci file, docker://REFERENCE, oci:DIR[:REF], oci-archive:FILE[:REF] or docker-archive:FILE[:REF]. " +
			"The IDs of the images are printed in the order of the arguments.",
		PreRunE: func(cmd *cobra.Command, args []string) error {
			o.argsErr = o.images.Parse(cmd.Flags(), args)
			return flagFault(o.argsErr)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return runFetch(cmd.Context(), d, o) },
	}
	o.images.BindSignature(cmd.Flags())
	o.pull.bind(cmd.Flags(), fetch.Update)
	o.download.bind(cmd.Flags())
	cmd.Flags().BoolVar(&o.full, "full", false, "print the full image hash after fetching")
	return cmd
}

// flagFault returns err if usage or help is the answer to it: the others are
// reported by the command itself, after its own checks.
func flagFault(err error) error {
	var flagErr *appargs.FlagError
	if errors.As(err, &flagErr) || errors.Is(err, appargs.ErrHelp) {
		return err
	}
	return nil
}

func runFetch(ctx context.Context, d *Deps, o fetchOptions) error {
	if o.argsErr != nil {
		return fmt.Errorf("unable to parse arguments: %w", o.argsErr)
	}
	if len(o.images.Apps) == 0 {
		return errors.New("must provide at least one image")
	}
	policy, err := o.pull.resolve()
	if err != nil {
		return err
	}
	f, err := d.fetcher(ctx, &o.download)
	if err != nil {
		return err
	}
	var ids []appc.ImageID
	for _, app := range o.images.Apps {
		id, err := f.Fetch(ctx, app.Image, fetch.ImageOptions{Policy: policy, Signature: app.Signature})
		if err != nil {
			return err
		}
		if err := d.renderFetched(ctx, id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		if err := d.printf("%s", fetchedID(id, o.full)); err != nil {
			return err
		}
	}
	return nil
}

// shortFetchedID is the length of the IDs that fetch prints: 32 digits.
const shortFetchedID = len("sha512-") + 32

func fetchedID(id appc.ImageID, full bool) appc.ImageID {
	id = id.Key()
	if !full {
		id = id[:min(len(id), shortFetchedID)]
	}
	return id
}

// fetcher is what brings images into the store.
func (d *Deps) fetcher(ctx context.Context, o *downloadFlags) (*fetch.Fetcher, error) {
	c, err := d.Config()
	if err != nil {
		return nil, err
	}
	store, err := d.Images(ctx)
	if err != nil {
		return nil, err
	}
	if d.display == nil {
		d.display = progress.New(d.Stderr, progress.Mode(d.Global.Progress))
	}
	in := d.Global.Insecure
	return &fetch.Fetcher{
		Store:     fetchstore.New(store),
		Insecure:  fetch.Insecure{Image: in.Image, TLS: in.TLS, HTTP: in.HTTP, PubKey: in.PubKey},
		Auth:      c,
		Keys:      d.keystore(),
		Policies:  d.policies(),
		TrustKeys: d.trustForFetch,
		Display:   d.display,
		Debug:     d.Global.Debug,
		UserAgent: "rkt/" + version,
		Getenv:    os.Getenv,

		Registries: c,
		CertDirs:   fetch.SystemCertDirs(),

		Platform:      ociconv.Platform(o.platform),
		MaxConcurrent: int(o.concurrent),
		Stall:         time.Duration(o.stall),
	}, nil
}

// renderFetched renders a fetched image, so that its first run does not have
// to, where a pod could use the tree: for root, with overlay.
func (d *Deps) renderFetched(ctx context.Context, id appc.ImageID) error {
	dir, err := d.DataDir()
	if err != nil || d.EUID() != 0 {
		return err
	}
	if err := overlay.Supported(dir); err != nil {
		d.Logger("image").Debug("not rendering the image: " + err.Error())
		return nil
	}
	trees, err := d.Trees(ctx)
	if err != nil {
		return err
	}
	l, err := d.lockTrees(ctx, lock.Shared)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	_, err = trees.Render(ctx, id.Key())
	if errors.Is(err, imagestore.ErrNotFound) {
		d.Logger("image").Debug("the image was removed before it was rendered", "image", id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("error rendering tree store: %w", err)
	}
	return nil
}

// pullFlags are --pull-policy and the flags it replaced.
type pullFlags struct {
	policy    policyFlag
	storeOnly bool
	noStore   bool
}

func (f *pullFlags) bind(flags *pflag.FlagSet, initial fetch.Policy) {
	f.policy = policyFlag(initial)
	flags.Var(&f.policy, "pull-policy", "when to pull an image; allowed values: "+
		quotedList([]string{string(fetch.New), string(fetch.Never), string(fetch.Update)}))
	flags.BoolVar(&f.storeOnly, "store-only", false, "use only available images in the store (do not discover or download from remote URLs)")
	flags.BoolVar(&f.noStore, "no-store", false, "fetch images, ignoring the local store")
	flags.Lookup("store-only").Deprecated = "please use --pull-policy=never"
	flags.Lookup("no-store").Deprecated = "please use --pull-policy=update"
}

func (f *pullFlags) resolve() (fetch.Policy, error) {
	switch {
	case f.storeOnly && f.noStore:
		return "", errors.New("both --store-only and --no-store specified")
	case f.storeOnly:
		return fetch.Never, nil
	case f.noStore:
		return fetch.Update, nil
	}
	return fetch.Policy(f.policy), nil
}

// policyFlag is --pull-policy.
type policyFlag fetch.Policy

func (f *policyFlag) Set(s string) error {
	p, err := fetch.ParsePolicy(s)
	if err != nil {
		return err
	}
	*f = policyFlag(p)
	return nil
}

func (f *policyFlag) String() string { return string(*f) }
func (f *policyFlag) Type() string   { return "string" }
