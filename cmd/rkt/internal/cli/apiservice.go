// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/cmd/rkt/internal/apiservice"
	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/pkg/appc"
)

// apiVersion is reported by GetInfo.
const apiVersion = "1.0.0-alpha"

type apiServiceOptions struct {
	listen             string
	cert, key, clients string
}

func newAPIService(d *Deps) *cobra.Command {
	var o apiServiceOptions
	cmd := &cobra.Command{
		Use:   "api-service [--listen=ADDR]",
		Short: "Run API service",
		Long: "Answers questions about pods and images over gRPC, and changes nothing; pods do not need it.\n" +
			"It runs until it is interrupted, and needs no more rights than those of the group rkt.\n\n" +
			"Sockets that systemd passes (systemd.socket(5)) are served. Over TCP, only this host may ask unless\n" +
			"clients have to show a certificate: --tls-cert, --tls-key and --tls-client-ca.",
		Annotations: map[string]string{exitStatuses: "0\tinterrupted\n254\tfailure"},
		Args:        cobra.NoArgs,
		RunE:        func(cmd *cobra.Command, _ []string) error { return runAPIService(cmd.Context(), d, o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "", "address to listen on, HOST:PORT or unix:///PATH; default "+apiservice.DefaultAddress)
	flags.StringVar(&o.cert, "tls-cert", "", "serve TCP with TLS, with this certificate (PEM)")
	flags.StringVar(&o.key, "tls-key", "", "key of the certificate (PEM)")
	flags.StringVar(&o.clients, "tls-client-ca", "", "ask clients for a certificate that one of these has signed (PEM)")
	return cmd
}

func runAPIService(ctx context.Context, d *Deps, o apiServiceOptions) error {
	say := func(text string) { d.writeErr(text + "\n") }
	say("API service starting...")
	dir, err := d.DataDir()
	if err != nil {
		return err
	}
	secured, err := apiservice.LoadTLS(o.cert, o.key, o.clients)
	if err != nil {
		return err
	}
	listeners, err := apiservice.Activated(secured)
	switch {
	case err != nil:
		return fmt.Errorf("Failed to open sockets: %w", err) //nolint:staticcheck // a literal of rkt
	case len(listeners) > 0 && o.listen != "":
		return errors.New("started under systemd.socket(5), but --listen passed! Quitting.") //nolint:staticcheck,revive // the same
	case len(listeners) > 0:
		say(fmt.Sprintf("Listening on %d systemd-provided socket(s)", len(listeners)))
	default:
		if o.listen == "" {
			o.listen = apiservice.DefaultAddress
		}
		l, err := apiservice.Listen(ctx, o.listen, secured)
		if err != nil {
			return fmt.Errorf("Failed to open sockets: %w", err) //nolint:staticcheck // the same
		}
		listeners = []net.Listener{l}
		say("Listening on " + o.listen)
	}
	server := apiservice.New(apiservice.Config{DataDir: dir, Info: d.apiInfo(dir), TLS: secured, Log: d.Logger("")})
	say("API service running")
	err = server.Serve(ctx, listeners)
	say("API service exiting...")
	return err
}

// apiInfo is what the service tells of itself.
func (d *Deps) apiInfo(dir string) *v1alpha.Info {
	return &v1alpha.Info{
		RktVersion: version, AppcVersion: appc.ACVersion, ApiVersion: apiVersion,
		GlobalFlags: &v1alpha.GlobalFlags{
			Dir: dir, SystemConfigDir: d.Global.SystemConfig, LocalConfigDir: d.Global.LocalConfig, UserConfigDir: d.Global.UserConfig,
			InsecureFlags: d.Global.Insecure.String(), TrustKeysFromHttps: d.Global.TrustKeysFromHTTPS,
		},
	}
}
