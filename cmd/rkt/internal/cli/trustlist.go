// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/keystore"
	"github.com/rkt/rkt/v2/pkg/trustpolicy"
)

type trustListOptions struct {
	noLegend bool
	format   formatFlag
}

func newTrustList(d *Deps) *cobra.Command {
	var o trustListOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys that may sign images",
		Long: "Lists the keys of both levels, the system's and the local one. STATUS is why signatures of a key are refused, or \"valid\"; " +
			"\"masked\" is a key of the system that `rkt trust rm` took away. Keys of cosign follow, by their rules. The exit status is 254 if a file of the keystore, or a trust policy, cannot be used.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runTrustList(d, o) },
	}
	cmd.Flags().BoolVar(&o.noLegend, "no-legend", false, "suppress a legend with the list")
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

// trustJSON is a key in `trust list`.
type trustJSON struct {
	Fingerprint string   `json:"fingerprint"`
	File        string   `json:"file"`   // fingerprint that the key file is named by
	Prefix      string   `json:"prefix"` // empty for a root key
	Level       string   `json:"level"`
	Status      string   `json:"status"`
	Identities  []string `json:"identities"`
	Created     string   `json:"created,omitempty"`
	Path        string   `json:"path"`
	Kind        string   `json:"kind,omitempty"` // "cosign"; absent: OpenPGP
}

func runTrustList(d *Deps, o trustListOptions) error {
	infos, err := d.keystore().List(d.Now())
	if err != nil {
		return err
	}
	keys := []trustJSON{}
	var faults []error
	for _, in := range infos {
		if in.Err != nil {
			faults = append(faults, in.Err)
			continue
		}
		keys = append(keys, keyJSON(in))
	}
	cosign, err := d.policies().Keys()
	if err != nil {
		return err
	}
	for _, in := range cosign {
		if in.Err != nil {
			faults = append(faults, in.Err)
			continue
		}
		keys = append(keys, cosignJSON(in))
	}
	if o.format != formatTable {
		err = d.printJSON(keys, o.format == formatJSONPretty)
	} else {
		err = d.printKeys(keys, o.noLegend)
	}
	if err != nil {
		return err
	}
	for _, fault := range faults {
		d.printError(fault)
	}
	if len(faults) > 0 {
		return errReported
	}
	return nil
}

func keyJSON(in keystore.Info) trustJSON {
	k := trustJSON{
		Fingerprint: string(in.Fingerprint), File: string(in.File), Prefix: string(in.Scope), Level: string(in.Level),
		Status: in.Status, Identities: in.Identities, Created: in.Created.UTC().Format(time.RFC3339), Path: in.Path,
	}
	if in.Masked {
		k.Status = "masked"
	}
	if k.Identities == nil {
		k.Identities = []string{}
	}
	return k
}

// cosignJSON is a key of cosign, which has neither name nor date.
func cosignJSON(in trustpolicy.Info) trustJSON {
	return trustJSON{
		Fingerprint: in.Key.ID(), File: in.Key.ID(), Prefix: in.Scope.String(), Level: in.Level,
		Status: "valid", Identities: []string{"cosign " + in.Key.Algorithm()}, Path: in.Path, Kind: "cosign",
	}
}

func (d *Deps) printKeys(keys []trustJSON, noLegend bool) error {
	var rows [][]string
	if !noLegend {
		rows = append(rows, []string{"FINGERPRINT", "PREFIX", "LEVEL", "STATUS", "IDENTITY"})
	}
	for _, k := range keys {
		prefix, identity := k.Prefix, ""
		if prefix == "" {
			prefix = "(root)"
		}
		if len(k.Identities) > 0 {
			identity = k.Identities[0]
		}
		rows = append(rows, []string{k.Fingerprint, prefix, k.Level, k.Status, identity})
	}
	if len(rows) == 0 {
		return nil
	}
	return d.writeOut(table(rows))
}
