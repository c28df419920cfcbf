// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/keystore"
	"github.com/rkt/rkt/v2/pkg/trustpolicy"
)

type trustOptions struct {
	scope      scopeFlags
	skipReview bool
	allowHTTP  bool
	keys       []string
	cosign     []string
}

func newTrust(d *Deps) *cobra.Command {
	var o trustOptions
	cmd := &cobra.Command{
		Use:   "trust [flags] [PUBKEY...]",
		Short: "Trust a key for image verification",
		Long: "Adds keys to the local keystore, for the verification of images whose name begins with the prefix.\n\n" +
			"PUBKEY is a local file or an https URL. Without any, keys are looked for by meta discovery at the prefix. " +
			"Prefixes are compared by path component: example.com/app is not a prefix of example.com/apple. " +
			"With --cosign-key the prefix is docker://HOST/REPOSITORY, for the images of a registry that are signed with that key of cosign. " +
			"The path `list` or `rm` has to be written as ./list or ./rm.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.keys = args
			return runTrust(cmd.Context(), d, o)
		},
	}
	o.scope.bind(cmd, "trust the key")
	cmd.Flags().BoolVar(&o.skipReview, "skip-fingerprint-review", false, "accept key without fingerprint confirmation")
	cmd.Flags().BoolVar(&o.allowHTTP, "insecure-allow-http", false, "allow HTTP use for key discovery and/or retrieval")
	cmd.Flags().StringArrayVar(&o.cosign, "cosign-key", nil, "file with a public key of cosign to trust for images of registries (example: '--cosign-key=cosign.pub --prefix=docker://example.com/app')")
	cmd.AddCommand(newTrustList(d), newTrustRm(d))
	return cmd
}

// scopeFlags are --prefix and --root.
type scopeFlags struct {
	prefix string
	root   bool
}

func (f *scopeFlags) bind(cmd *cobra.Command, verb string) {
	cmd.Flags().StringVar(&f.prefix, "prefix", "", verb+" for images whose name begins with this, by path component (example: '--prefix=example.com/app')")
	cmd.Flags().BoolVar(&f.root, "root", false, verb+" for all images, whatever their name is")
}

// scope is what the flags say; false if neither is there.
func (f *scopeFlags) scope() (keystore.Scope, bool, error) {
	if f.root && f.prefix != "" {
		return "", false, errors.New("--root and --prefix usage mutually exclusive")
	}
	if f.root || f.prefix == "" {
		return keystore.Root, f.root, nil
	}
	if u, err := url.Parse(f.prefix); err == nil && u.Scheme != "" {
		return "", false, fmt.Errorf("--prefix must not contain a URL scheme, omit %s://", u.Scheme)
	}
	if _, err := appc.NewIdentifier(f.prefix); err != nil {
		return "", false, fmt.Errorf("--prefix %q: %w", f.prefix, err)
	}
	return keystore.Scope(f.prefix), true, nil
}

// errUnbounded is printed as several lines.
const unbounded = `aborting due to implicit unbounded trust (root domain)
to trust the key for images below one name, run: rkt trust --prefix=PREFIX %[1]s
to trust the key for all images, run: rkt trust --root %[1]s
`

func runTrust(ctx context.Context, d *Deps, o trustOptions) error {
	if len(o.cosign) > 0 {
		return runTrustCosign(d, o)
	}
	if trustpolicy.IsImages(o.scope.prefix) {
		return hint.With(errors.New("--prefix=docker://… is for keys of cosign"), "name the key with --cosign-key=FILE")
	}
	scope, given, err := o.scope.scope()
	switch {
	case err != nil:
		return err
	case !given && len(o.keys) == 0:
		return errUsage
	case !given:
		d.writeErr(d.command + ": " + fmt.Sprintf(unbounded, o.keys[0]))
		return errReported
	case d.Global.Insecure.Image:
		return hint.With(errors.New("could not get the keystore: image verification is disabled"),
			"leave out --insecure-options=image")
	}
	t := d.keyTruster()
	t.skipReview = o.skipReview
	t.allowHTTP = o.allowHTTP || d.Global.Insecure.HTTP
	locations := o.keys
	if len(locations) == 0 {
		if locations, err = t.discover(ctx, scope); err != nil {
			return fmt.Errorf("error determining key location: %w", err)
		}
	}
	if err := t.trust(ctx, scope, locations); err != nil {
		return fmt.Errorf("error adding keys: %w", err)
	}
	return nil
}

// keystore is where the trusted keys are.
func (d *Deps) keystore() *keystore.Store {
	return &keystore.Store{SystemDir: d.Global.SystemConfig, LocalDir: d.Global.LocalConfig}
}

// keyTruster asks on the terminal, if there is one.
func (d *Deps) keyTruster() *keyTruster {
	return &keyTruster{
		Deps:     d,
		store:    d.keystore(),
		stdin:    os.Stdin,
		terminal: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
		say:      func(s string) error { return d.writeOut(s + "\n") },
	}
}
