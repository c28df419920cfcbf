// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/discovery"
	"github.com/rkt/rkt/v2/pkg/distribution"
)

type discoverOptions struct {
	json     bool
	insecure bool
	port     int
}

func newDiscover() command {
	var o discoverOptions
	return command{
		name: "discover", args: "APP...", summary: "Find where images and their keys are",
		description: "Looks for the image NAME[:VERSION][,LABEL=VALUE...] by meta discovery and prints the\n" +
			"URLs of the image, of its signature and of the keys.",
		flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&o.json, "json", false, "print JSON")
			fs.BoolVar(&o.insecure, "insecure", false, "accept any certificate and fall back to plain http")
			fs.Func("port", "connect to port `N` instead of the usual one", func(s string) error {
				n, err := strconv.ParseUint(s, 10, 16)
				if err != nil || n == 0 {
					return errors.New("must be a number from 1 to 65535")
				}
				o.port = int(n)
				return nil
			})
		},
		run: func(ctx context.Context, d *Deps, args []string) error { return runDiscover(ctx, d, o, args) },
	}
}

func runDiscover(ctx context.Context, d *Deps, o discoverOptions, args []string) error {
	if len(args) == 0 {
		return errors.New("discover: at least one name required")
	}
	for _, arg := range args {
		app, err := distribution.ParseAppc(arg)
		if err != nil {
			return fmt.Errorf("%s: %w", arg, err)
		}
		if err := discover(ctx, d, o, arg, discovery.App{Name: app.Name, Labels: app.Labels}); err != nil {
			return err
		}
	}
	return nil
}

// discovered is the JSON form of what was found for one name.
type discovered struct {
	ACIEndpoints []discoveredEndpoint
	PublicKeys   []string
}

type discoveredEndpoint struct{ ACI, ASC string }

func discover(ctx context.Context, d *Deps, o discoverOptions, arg string, app discovery.App) error {
	var walk strings.Builder
	f := &discovery.Finder{
		HTTP: o.insecure, TLS: o.insecure, Port: o.port, UserAgent: "actool",
		Failed: func(tag, candidate string, err error) {
			what := map[string]string{discovery.EndpointTag: "endpoints", discovery.KeyTag: "public keys"}[tag]
			fmt.Fprintf(&walk, "discover %s walk: prefix: %s error: %v\n", what, candidate, err)
		},
	}
	endpoints, err := f.Endpoints(ctx, app)
	if err != nil {
		return errors.Join(d.printWalk(o, walk.String()), fmt.Errorf("error fetching endpoints for %s: %w", arg, err))
	}
	found := discovered{PublicKeys: []string{}}
	for _, e := range endpoints {
		found.ACIEndpoints = append(found.ACIEndpoints, discoveredEndpoint{ACI: e.ACI.String(), ASC: e.ASC.String()})
	}
	keys, err := f.Keys(ctx, string(app.Name))
	var none *discovery.Error
	if err != nil && !errors.As(err, &none) {
		return errors.Join(d.printWalk(o, walk.String()), fmt.Errorf("error fetching public keys for %s: %w", arg, err))
	}
	for _, u := range keys {
		found.PublicKeys = append(found.PublicKeys, u.String())
	}
	if err := d.printWalk(o, walk.String()); err != nil {
		return err
	}
	return found.print(d, o)
}

// printWalk prints the pages without what was looked for: they are no part of
// the JSON form.
func (d *Deps) printWalk(o discoverOptions, text string) error {
	if o.json {
		for line := range strings.Lines(text) {
			d.debugf("%s", strings.TrimSuffix(line, "\n"))
		}
		return nil
	}
	_, err := fmt.Fprint(d.Stdout, text)
	return err
}

func (f discovered) print(d *Deps, o discoverOptions) error {
	if o.json {
		data, err := json.MarshalIndent(f, "", "    ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(d.Stdout, "%s\n", data)
		return err
	}
	var b strings.Builder
	for _, e := range f.ACIEndpoints {
		fmt.Fprintf(&b, "ACI: %s, ASC: %s\n", e.ACI, e.ASC)
	}
	if len(f.PublicKeys) > 0 {
		fmt.Fprintf(&b, "PublicKeys: %s\n", strings.Join(f.PublicKeys, ","))
	}
	_, err := fmt.Fprint(d.Stdout, b.String())
	return err
}
