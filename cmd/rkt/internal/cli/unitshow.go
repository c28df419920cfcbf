// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/podunit"
)

func newUnitShow(d *Deps) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Print the units that a declaration becomes",
		Long: "Prints the units that systemd gets for the declaration of the name, and the links that [Install] asks for. " +
			"What is wrong with it is printed as by \"rkt unit verify\".",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runUnitShow(d, args[0]) },
	}
}

func runUnitShow(d *Deps, name string) error {
	s, err := d.findUnit(name)
	if err != nil {
		return err
	}
	if s.Masked {
		return fmt.Errorf("%s masks the pod: there is no unit", s.Path)
	}
	h, err := d.unitHost()
	if err != nil {
		return err
	}
	decl := readDeclaration(s)
	out := decl.Output(h)
	for _, file := range slices.Sorted(maps.Keys(out.Files)) {
		if err := d.printf("# %s\n%s", file, out.Files[file]); err != nil {
			return err
		}
	}
	for _, link := range slices.Sorted(maps.Keys(out.Links)) {
		if err := d.printf("# %s -> %s", link, out.Links[link]); err != nil {
			return err
		}
	}
	for _, p := range decl.Warnings {
		d.errorf("warning: %s", oneLine(p.String()))
	}
	for _, p := range decl.Problems {
		d.writeErr(oneLine(p.String()) + "\n")
	}
	if len(decl.Problems) > 0 {
		return errReported
	}
	return nil
}

type unitListOptions struct {
	noLegend bool
	format   formatFlag
}

func newUnitList(d *Deps) *cobra.Command {
	var o unitListOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the declarations of pods",
		Long:  "Lists the declarations with their files. The state is ok, wrong or masked; how the service is doing says \"systemctl status\".",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return runUnitList(d, o) },
	}
	cmd.Flags().BoolVar(&o.noLegend, "no-legend", false, "suppress a legend with the list")
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

// unitItem is a declaration in the JSON form.
type unitItem struct {
	Unit    string   `json:"unit"`
	State   string   `json:"state"` // ok, wrong or masked
	File    string   `json:"file"`
	DropIns []string `json:"dropIns"`
}

func runUnitList(d *Deps, o unitListOptions) error {
	sources, stray := podunit.Find(d.podDirs())
	items := []unitItem{}
	for _, s := range sources {
		item := unitItem{s.Service(), "ok", s.Path, append([]string{}, s.DropIns...)}
		switch {
		case s.Masked:
			item.State = "masked"
		case len(readDeclaration(s).Problems) > 0:
			item.State = "wrong"
		}
		items = append(items, item)
	}
	for _, p := range stray {
		d.errorf("warning: %s", oneLine(p.String()))
	}
	if o.format != formatTable {
		return d.printJSON(items, o.format == formatJSONPretty)
	}
	var rows [][]string
	if !o.noLegend {
		rows = append(rows, []string{"UNIT", "STATE", "FILE"})
	}
	for _, i := range items {
		rows = append(rows, []string{i.Unit, i.State, i.File})
	}
	return d.writeOut(table(rows))
}

func newUnitKeys(d *Deps) *cobra.Command {
	var o unitListOptions
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "List the keys of declarations of pods",
		Long:  "Lists the keys of the sections [Pod] and [App NAME] with the flags of \"rkt run\" they stand for.",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return runUnitKeys(d, o) },
	}
	cmd.Flags().BoolVar(&o.noLegend, "no-legend", false, "suppress a legend with the list")
	cmd.Flags().Var(&o.format, "format", o.format.usage())
	return cmd
}

// unitKey is a key in the JSON form.
type unitKey struct {
	Section string `json:"section"`
	Key     string `json:"key"`
	Kind    string `json:"kind"`
	Flag    string `json:"flag,omitempty"`
	Help    string `json:"help"`
}

func runUnitKeys(d *Deps, o unitListOptions) error {
	var keys []unitKey
	var rows [][]string
	if !o.noLegend {
		rows = append(rows, []string{"SECTION", "KEY", "VALUE", "FLAG", "MEANING"})
	}
	for _, k := range podunit.Keys() {
		keys = append(keys, unitKey{k.Section, k.Name, string(k.Kind), k.Flag, k.Help})
		flag := dash(k.Flag)
		if k.Flag != "" {
			flag = "--" + k.Flag
		}
		rows = append(rows, []string{"[" + k.Section + "]", k.Name + "=", string(k.Kind), flag, k.Help})
	}
	if o.format != formatTable {
		return d.printJSON(keys, o.format == formatJSONPretty)
	}
	return d.writeOut(table(rows))
}
