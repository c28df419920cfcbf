// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/keystore"
	"github.com/rkt/rkt/v2/pkg/trustpolicy"
)

// policies is where the rules for images of registries are.
func (d *Deps) policies() *trustpolicy.Store {
	return &trustpolicy.Store{SystemDir: d.Global.SystemConfig, LocalDir: d.Global.LocalConfig}
}

// trustWhere is what --prefix and --root of a command on keys say.
type trustWhere struct {
	scope  *keystore.Scope    // nil: any
	docker *trustpolicy.Scope // of keys of cosign alone
}

// where also takes a prefix of registry images.
func (f *scopeFlags) where() (trustWhere, error) {
	if trustpolicy.IsImages(f.prefix) && !f.root {
		scope, err := trustpolicy.ParseScope(f.prefix)
		return trustWhere{docker: &scope}, err
	}
	scope, given, err := f.scope()
	if err != nil || !given {
		return trustWhere{}, err
	}
	return trustWhere{scope: &scope}, nil
}

// dockerScope is nil for any scope of keys of cosign.
func (w trustWhere) dockerScope() *trustpolicy.Scope {
	if w.scope == nil {
		return w.docker
	}
	everything, err := trustpolicy.ParseScope(trustpolicy.Everything)
	if err != nil {
		return nil
	}
	return &everything
}

// String follows "is trusted".
func (w trustWhere) String() string {
	switch {
	case w.docker != nil:
		return fmt.Sprintf(" for prefix %q", w.docker)
	case w.scope == nil:
		return ""
	case *w.scope == keystore.Root:
		return " for all images"
	}
	return fmt.Sprintf(" for prefix %q", string(*w.scope))
}

// maxCosignKey is more than any key has.
const maxCosignKey = 64 << 10

// runTrustCosign adds keys of cosign. They are local files that the user
// names, and nobody is asked.
func runTrustCosign(d *Deps, o trustOptions) error {
	prefix := o.scope.prefix
	switch {
	case len(o.keys) > 0:
		return errors.New("--cosign-key cannot be used together with other keys")
	case o.scope.root && prefix != "":
		return errors.New("--root and --prefix usage mutually exclusive")
	case o.scope.root:
		prefix = trustpolicy.Everything
	case !trustpolicy.IsImages(prefix):
		return hint.With(errors.New("--cosign-key needs --prefix=docker://HOST[/REPOSITORY] or --root"),
			"cosign signs images of registries, and of layouts and archives (--prefix=oci:/PATH); for ACIs trust an OpenPGP key")
	case d.Global.Insecure.Image:
		return hint.With(errors.New("could not get the keystore: image verification is disabled"),
			"leave out --insecure-options=image")
	}
	scope, err := trustpolicy.ParseScope(prefix)
	if err != nil {
		return err
	}
	for _, file := range o.cosign {
		if err := d.trustCosign(scope, file); err != nil {
			return fmt.Errorf("error adding keys: %w", err)
		}
	}
	return nil
}

func (d *Deps) trustCosign(scope trustpolicy.Scope, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("error accessing the key: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxCosignKey+1))
	if err != nil {
		return fmt.Errorf("error accessing the key %s: %w", file, err)
	}
	path, key, err := d.policies().AddKey(scope, data)
	if errors.Is(err, fs.ErrPermission) {
		err = hint.With(err, `run rkt trust as root or as a member of the group "rkt-admin"`)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return d.printf("cosign key is: %s (%s)\nAdded cosign key for prefix %q at %q", key.ID(), key.Algorithm(), scope, path)
}
