// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/metadata"
	"github.com/rkt/rkt/v2/pkg/mds"
)

type metadataServiceOptions struct {
	port      uint16
	addresses []string
	cert, key string
}

func newMetadataService(d *Deps) *cobra.Command {
	var o metadataServiceOptions
	cmd := &cobra.Command{
		Use:   "metadata-service [--listen-port=PORT]",
		Short: "Run metadata service",
		Long: "Tells pods that were started with --mds-register about themselves, and signs and verifies for them, until it gets SIGINT or SIGTERM. " +
			"It may be restarted at any time: registered pods notice nothing.\n\n" +
			"Pods are registered over the socket " + mds.Default.Socket() + ", which root alone may use. " +
			"If started by systemd.socket(5), the first socket is that one, and any more are the TCP sockets for pods.\n\n" +
			"Unless --listen-address says otherwise only pods are served: over loopback, and at the gateways of their networks.",
		Annotations: map[string]string{exitStatuses: "0\tended by a signal\n254\tthe service could not be started"},
		Args:        cobra.NoArgs,
		RunE:        func(cmd *cobra.Command, _ []string) error { return runMetadataService(cmd.Context(), d, o) },
	}
	flags := cmd.Flags()
	flags.Uint16Var(&o.port, "listen-port", mds.DefaultPort, "listen port; 0 for any that is free")
	flags.StringSliceVar(&o.addresses, "listen-address", nil, "addresses to listen on, for whoever reaches them; may be repeated")
	flags.StringVar(&o.cert, "tls-cert", "", "file with a certificate: pods are answered by TLS")
	flags.StringVar(&o.key, "tls-key", "", "file with the key of --tls-cert")
	return cmd
}

func (o *metadataServiceOptions) parseAddresses() (all []netip.Addr, err error) {
	for _, s := range o.addresses {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("--listen-address: %w", err)
		}
		if slices.Contains(all, a.Unmap()) {
			return nil, fmt.Errorf("--listen-address: %s is given twice", a)
		}
		all = append(all, a.Unmap())
	}
	return all, nil
}

func runMetadataService(ctx context.Context, d *Deps, o metadataServiceOptions) error {
	addresses, err := o.parseAddresses()
	if err != nil {
		return err
	}
	if (o.cert == "") != (o.key == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	dir, err := d.DataDir()
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	return metadata.Serve(ctx, metadata.Config{
		Files: d.MDS, DataDir: dir,
		Port: o.port, Addresses: addresses, CertFile: o.cert, KeyFile: o.key,
		Getenv: os.Getenv,
		Log:    func(line string) { d.writeErr(line + "\n") },
	})
}
