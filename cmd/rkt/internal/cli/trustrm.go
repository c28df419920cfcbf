// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/keystore"
)

type trustRmOptions struct {
	scope scopeFlags
	keys  []string
}

func newTrustRm(d *Deps) *cobra.Command {
	var o trustRmOptions
	cmd := &cobra.Command{
		Use:   "rm [flags] FINGERPRINT...",
		Short: "Stop trusting keys",
		Long: "Removes keys from the local keystore, wherever they are trusted or only for what --prefix or --root says. " +
			"A key of the system level is masked by an empty local file. Images that were verified before stay.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			o.keys = args
			return runTrustRm(d, o)
		},
	}
	o.scope.bind(cmd, "stop trusting the key")
	return cmd
}

func runTrustRm(d *Deps, o trustRmOptions) error {
	scope, given, err := o.scope.scope()
	if err != nil {
		return err
	}
	only := &scope
	if !given {
		only = nil
	}
	var fingerprints []keystore.Fingerprint
	for _, k := range o.keys {
		f, err := keystore.ParseFingerprint(k)
		if err != nil {
			return hint.With(err, "take the fingerprint from rkt trust list")
		}
		fingerprints = append(fingerprints, f)
	}
	for _, f := range fingerprints {
		removed, err := d.keystore().Remove(f, only)
		for _, r := range removed {
			if err := d.printf("%s", removedKey(r)); err != nil {
				return err
			}
		}
		if errors.Is(err, fs.ErrPermission) {
			err = hint.With(err, `run rkt trust as root or as a member of the group "rkt-admin"`)
		}
		if err != nil {
			return fmt.Errorf("cannot remove key %s: %w", f, err)
		}
		if len(removed) == 0 {
			return hint.With(fmt.Errorf("no key file %s is trusted%s", f, forScope(only)),
				"rkt trust list shows the keys; one that is in the file of another goes with that one")
		}
	}
	return nil
}

func forScope(scope *keystore.Scope) string {
	switch {
	case scope == nil:
		return ""
	case *scope == keystore.Root:
		return " for all images"
	}
	return fmt.Sprintf(" for prefix %q", string(*scope))
}

func removedKey(r keystore.Removed) string {
	verb := "Removed"
	if r.Masked {
		verb = "Masked"
	}
	if r.Scope == keystore.Root {
		return fmt.Sprintf("%s root key at %q", verb, r.Path)
	}
	return fmt.Sprintf("%s key for prefix %q at %q", verb, string(r.Scope), r.Path)
}
