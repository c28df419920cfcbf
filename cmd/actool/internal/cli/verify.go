// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/keystore"
)

type verifyOptions struct {
	keys                      []string
	systemConfig, localConfig string
}

func newVerify() command {
	var o verifyOptions
	return command{
		name: "verify", args: "FILE.aci [FILE.aci.asc]", summary: "Verify the signature of an image",
		description: "Tells whether a key that rkt trusts for the image's name, or with --key one of these\n" +
			"keys, has signed FILE.aci, as rkt would decide, and prints whose key that is.",
		flags: func(fs *flag.FlagSet) {
			fs.Func("key", "trust the public keys in `FILE` instead of those that rkt trusts; may be given several times", func(s string) error {
				o.keys = append(o.keys, s)
				return nil
			})
			fs.StringVar(&o.systemConfig, "system-config", "/usr/lib/rkt", "system configuration `DIR` of rkt")
			fs.StringVar(&o.localConfig, "local-config", "/etc/rkt", "local configuration `DIR` of rkt")
		},
		run: func(ctx context.Context, d *Deps, args []string) error {
			if err := runVerify(ctx, d, o, args); err != nil {
				return fmt.Errorf("verify: %w", err)
			}
			return nil
		},
	}
}

func runVerify(ctx context.Context, d *Deps, o verifyOptions, args []string) error {
	if len(args) != 1 && len(args) != 2 {
		return errors.New("must provide image file and, at most, signature file")
	}
	signature := args[0] + signatureSuffix
	if len(args) == 2 {
		signature = args[1]
	}
	sigs, err := readSignatures(signature)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", signature, err)
	}
	digest := sigs.Begin()
	m, err := hashImage(ctx, args[0], digest)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", args[0], err)
	}
	ring, err := o.ring(m.Name)
	if err != nil {
		return err
	}
	by, err := digest.Verify(ring, d.Now())
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	_, err = fmt.Fprintf(d.Stdout, "%s: signed by %s %q\n", m.Name, by.Fingerprint, by.Identities)
	return err
}

func readSignatures(path string) (*keystore.Signatures, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return keystore.ReadSignatures(f)
}

// hashImage validates an image while the file, as it is, goes to w as well.
func hashImage(ctx context.Context, path string, w io.Writer) (*appc.ImageManifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	in := io.TeeReader(ctxReader{ctx, f}, w)
	m, err := aci.Validate(in)
	var old *aci.OldVersionError
	if err != nil && !errors.As(err, &old) {
		return nil, err
	}
	_, err = io.Copy(io.Discard, in)
	return m, err
}

// ring is what rkt trusts for name, or the keys that were given. Those go to a
// keystore of their own, so that the same code decides.
func (o *verifyOptions) ring(name appc.Identifier) (_ *keystore.Keyring, err error) {
	if len(o.keys) == 0 {
		return (&keystore.Store{SystemDir: o.systemConfig, LocalDir: o.localConfig}).Keyring(name)
	}
	dir, err := os.MkdirTemp("", "actool-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store := &keystore.Store{LocalDir: dir}
	for _, path := range o.keys {
		if err := addKeys(store, path); err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", path, err)
		}
	}
	return store.Keyring(name)
}

func addKeys(store *keystore.Store, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	keys, err := keystore.ReadKeys(f)
	if err != nil {
		return err
	}
	_, err = store.Add(keystore.Root, keys)
	return err
}
