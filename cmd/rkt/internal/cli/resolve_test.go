// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestResolve(t *testing.T) {
	root := newRoot(&Deps{})
	for _, tc := range []struct{ argv, command, args, unknown string }{
		{"", "rkt", "", ""},
		{"fetch X", "rkt fetch", "X", ""},
		{"fet X", "rkt fetch", "X", ""},
		{"run X", "rkt run", "X", ""},
		{"run-p X", "rkt run-prepared", "X", ""},
		{"r", "rkt", "r", "r"}, // rm, run, run-prepared
		{"bogus", "rkt", "bogus", "bogus"},
		{"image list", "rkt image list", "", ""},
		{"im l --full", "rkt image list", "--full", ""},
		{"image", "rkt image", "", ""},
		{"image bogus", "rkt image", "bogus", ""},
		{"image --full list", "rkt image list", "--full", ""},
		{"--net=host --debug run IMG", "rkt run", "--net=host --debug IMG", ""},
		{"--net run IMG", "rkt run", "--net IMG", ""},
		{"--net host app sandbox", "rkt app sandbox", "--net host", ""},
		{"app --net host sandbox", "rkt app sandbox", "--net host", ""},
		{"app sandbox --net run", "rkt app sandbox", "--net run", ""},
		{"app list U", "rkt app list", "U", ""},
		{"at U", "rkt attach", "U", ""},
		{"--stage1-path x run IMG", "rkt run", "--stage1-path x IMG", ""},
		{"--no-store fetch X", "rkt fetch", "--no-store X", ""},
		{"--no-store --debug fetch X", "rkt fetch", "--no-store --debug X", ""},
		{"--pretty-print=false config", "rkt config", "--pretty-print=false", ""},
		{"--dir run list", "rkt list", "--dir run", ""},
		{"--bogus list", "rkt list", "--bogus", ""},
		{"-h list", "rkt list", "-h", ""},
		{"-- list", "rkt", "-- list", ""},
		{"run -- list", "rkt run", "-- list", ""},
		{"enter U list --full", "rkt enter", "U list --full", ""},
	} {
		got := resolve(root, strings.Fields(tc.argv))
		if got.cmd.CommandPath() != tc.command || strings.Join(got.args, " ") != tc.args || got.unknown != tc.unknown {
			t.Errorf("%q: %s, args %q, unknown %q", tc.argv, got.cmd.CommandPath(), got.args, got.unknown)
		}
	}
}

// Flags may stand before the command word, when it is not known yet which
// command they belong to: all must agree on whether a value follows. That of
// --net is optional in run and needed in app sandbox, so there the next word
// decides (TestResolve).
func TestFlagsAgree(t *testing.T) {
	takesValue := map[string]string{}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			mode := "optional"
			if f.NoOptDefVal == "" {
				mode = "needed"
			}
			if other, ok := takesValue[f.Name]; ok && other != mode && f.Name != "net" {
				t.Errorf("--%s of %s: value %s, elsewhere %s", f.Name, cmd.CommandPath(), mode, other)
			}
			takesValue[f.Name] = mode
		})
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(newRoot(&Deps{}))
}

// FuzzResolve checks that the command words and what is left are the
// arguments, in order.
func FuzzResolve(f *testing.F) {
	f.Add("--debug run img --exec x")
	f.Add("image --full list --dir x")
	root := newRoot(&Deps{})
	f.Fuzz(func(t *testing.T, text string) {
		argv := strings.Split(text, " ")
		got := resolve(root, argv)
		depth := strings.Count(got.cmd.CommandPath(), " ")
		rest := got.args
		for _, w := range argv {
			switch {
			case len(rest) > 0 && rest[0] == w:
				rest = rest[1:]
			case w == "":
			default:
				depth-- // a command word
			}
		}
		if len(rest) > 0 || depth != 0 {
			t.Errorf("%q: %s with %q", argv, got.cmd.CommandPath(), got.args)
		}
	})
}

func TestInsecure(t *testing.T) {
	for _, tc := range []struct{ in, want, err string }{
		{"none", "none", ""},
		{"Image,TLS", "image,tls", ""},
		{"all-fetch", "image,tls,http,pubkey", ""},
		{"all-run", "capabilities,paths,seccomp", ""},
		{"all", "image,tls,http,pubkey,capabilities,paths,seccomp", ""},
		{"ondisk", "ondisk", ""},
		{"image,image", "", `duplicated option "image"`},
		{"bogus", "", `unknown option "bogus"`},
		{"", "", `unknown option ""`},
	} {
		o := Insecure{HTTP: true} // replaced
		err := o.Set(tc.in)
		if tc.err != "" {
			if err == nil || err.Error() != tc.err || !o.HTTP {
				t.Errorf("%q: %v, now %s", tc.in, err, o.String())
			}
			continue
		}
		if err != nil || o.String() != tc.want {
			t.Errorf("%q: %s, %v", tc.in, o.String(), err)
		}
	}
}

func FuzzInsecure(f *testing.F) {
	f.Add("image,tls")
	f.Fuzz(func(t *testing.T, s string) {
		var o, again Insecure
		if o.Set(s) != nil {
			return
		}
		if err := again.Set(o.String()); err != nil || again != o {
			t.Errorf("%q: %s, again %s, %v", s, o.String(), again.String(), err)
		}
	})
}

func TestStage1FlagsExclude(t *testing.T) {
	var c stage1Choice
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.bind(fs)
	if err := fs.Parse([]string{"--stage1-url=a"}); err != nil || c != (stage1Choice{"stage1-url", "a"}) {
		t.Fatal(c, err)
	}
	for arg, want := range map[string]string{
		"--stage1-url=b":  "--stage1-url already used",
		"--stage1-path=b": "flags --stage1-path and --stage1-url are mutually exclusive",
	} {
		if err := fs.Parse([]string{arg}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

func TestWaitFlag(t *testing.T) {
	for in, want := range map[string]waitFlag{
		"true": {on: true}, "1": {on: true}, "false": {}, "0": {}, "0s": {},
		"10s": {on: true, limit: 10e9}, "-1s": {on: true},
	} {
		var f waitFlag
		if err := f.Set(in); err != nil || f != want {
			t.Errorf("%s: %+v, %v", in, f, err)
		}
	}
	for _, in := range []string{"2", "x", ""} {
		if err := new(waitFlag).Set(in); err == nil {
			t.Errorf("%q is accepted", in)
		}
	}
}

func TestOutputDirRefusesRoot(t *testing.T) {
	err := outputDir("/../.", true, func(string) error { return nil })
	if diff := cmp.Diff("this would delete your root filesystem. Refusing.", err.Error()); diff != "" {
		t.Error(diff)
	}
}
