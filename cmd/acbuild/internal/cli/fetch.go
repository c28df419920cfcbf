// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/rkt/rkt/v2/cmd/internal/fetchstore"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/fetch"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/keystore"
	"github.com/rkt/rkt/v2/pkg/trustpolicy"
	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/treestore"
)

// fetchFlags say how images are fetched.
type fetchFlags struct {
	insecure                 bool
	checks                   fetch.Insecure
	systemConfig, userConfig string
	// store is a data directory of rkt, empty for a store of the build.
	store string
}

func (f *fetchFlags) bind(fs *flag.FlagSet) {
	fs.BoolVar(&f.insecure, "insecure", false, "allow plain http and unverified TLS when images are fetched")
	fs.Func("insecure-options", "comma-separated `LIST` of checks to leave out: none, image, tls, http, pubkey, all", f.setChecks)
	fs.StringVar(&f.systemConfig, "system-config", "/usr/lib/rkt", "`DIR` with trusted keys and credentials")
	fs.StringVar(&f.store, "store", "", "use and keep images in the store of rkt's data directory `DIR`, not in one of the build")
	fs.StringVar(&f.userConfig, "local-config", "/etc/rkt", "`DIR` with trusted keys and credentials")
}

func (f *fetchFlags) setChecks(list string) error {
	for word := range strings.SplitSeq(list, ",") {
		switch word {
		case "none":
			f.checks = fetch.Insecure{}
		case "image":
			f.checks.Image = true
		case "tls":
			f.checks.TLS = true
		case "http":
			f.checks.HTTP = true
		case "pubkey":
			f.checks.PubKey = true
		case "all":
			f.checks = fetch.Insecure{Image: true, TLS: true, HTTP: true, PubKey: true}
		default:
			return fmt.Errorf("unknown option %q", word)
		}
	}
	return nil
}

// stores are the images that a build has fetched.
type stores struct {
	images  *imagestore.Store
	trees   *treestore.Store
	fetcher *fetch.Fetcher
}

// openStores opens the store of a build, or that of rkt if the flags say so:
// what is fetched for one build is there for the next one and for pods.
func (c *call) openStores(ctx context.Context, dir string, f fetchFlags) (*stores, error) {
	if f.store != "" {
		if info, err := os.Stat(f.store); err != nil || !info.IsDir() {
			err := fmt.Errorf("%s is no data directory of rkt", f.store)
			return nil, hint.With(err, "rkt's own one is /var/lib/rkt unless it is configured otherwise; \"rkt fetch\" makes it")
		}
		dir = filepath.Join(f.store, "cas")
	}
	conf, err := config.Load(config.Dirs{System: f.systemConfig, Local: f.userConfig}, config.KindAuth, config.KindDockerAuth, config.KindRegistry)
	if err != nil {
		return nil, err
	}
	images, err := imagestore.Open(ctx, dir, imagestore.Options{})
	if err != nil {
		return nil, err
	}
	trees, err := treestore.Open(ctx, dir, images, treestore.Options{})
	if err != nil {
		return nil, errors.Join(err, images.Close())
	}
	in := f.checks
	in.TLS, in.HTTP = in.TLS || f.insecure, in.HTTP || f.insecure
	s := &stores{images: images, trees: trees, fetcher: &fetch.Fetcher{
		Store: fetchstore.New(images), Insecure: in, Auth: conf,
		Keys:       &keystore.Store{SystemDir: f.systemConfig, LocalDir: f.userConfig},
		Policies:   &trustpolicy.Store{SystemDir: f.systemConfig, LocalDir: f.userConfig},
		Registries: conf, CertDirs: fetch.SystemCertDirs(),
		Debug: c.global.debug, UserAgent: "acbuild/" + version, Getenv: c.Getenv,
	}}
	if c.global.debug {
		s.fetcher.Stderr = c.Stderr
	}
	return s, nil
}

func (s *stores) close() error { return s.images.Close() }

// explainFetch says more of an error than the resolver does.
func explainFetch(err error) error {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return fmt.Errorf("unknown host when fetching image, check your connection and local file paths must start with '/' or '.': %w", err)
	}
	return err
}
