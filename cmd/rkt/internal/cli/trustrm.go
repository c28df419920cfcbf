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
			"FINGERPRINT is that of an OpenPGP key or the ID of a key of cosign. A key of the system level is masked by an empty local file. Images that were verified before stay.",
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
	where, err := o.scope.where()
	if err != nil {
		return err
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
		n, err := d.distrust(f, where)
		if errors.Is(err, fs.ErrPermission) {
			err = hint.With(err, `run rkt trust as root or as a member of the group "rkt-admin"`)
		}
		if err != nil {
			return fmt.Errorf("cannot remove key %s: %w", f, err)
		}
		if n == 0 {
			return hint.With(fmt.Errorf("no key file %s is trusted%s", f, where),
				"rkt trust list shows the keys; one that is in the file of another goes with that one")
		}
	}
	return nil
}

// distrust removes a key of either kind and tells from how many places.
func (d *Deps) distrust(f keystore.Fingerprint, where trustWhere) (int, error) {
	n := 0
	if where.docker == nil {
		removed, err := d.keystore().Remove(f, where.scope)
		for _, r := range removed {
			if err := d.printf("%s", removedKey(r)); err != nil {
				return n, err
			}
		}
		n += len(removed)
		if err != nil {
			return n, err
		}
	}
	if where.scope != nil && *where.scope != keystore.Root {
		return n, nil
	}
	removed, err := d.policies().RemoveKey(string(f), where.dockerScope())
	for _, r := range removed {
		verb := "Removed"
		if r.Masked {
			verb = "Masked"
		}
		if err := d.printf("%s cosign key for prefix %q at %q", verb, r.Scope, r.Path); err != nil {
			return n, err
		}
	}
	return n + len(removed), err
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
