// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// newFlags is a flag set as run has one: per-app flags and some others.
func newFlags(p *Parser) *pflag.FlagSet {
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.BoolP("help", "h", false, "")
	fs.Bool("debug", false, "")
	fs.String("dir", "", "")
	fs.Var(&NetFlag{}, "net", "")
	fs.Lookup("net").NoOptDefVal = NetDefault
	p.Bind(fs)
	return fs
}

func parse(words ...string) (*Parser, *pflag.FlagSet, error) {
	p := &Parser{}
	fs := newFlags(p)
	return p, fs, p.Parse(fs, words)
}

var ignoreSeen = cmpopts.IgnoreUnexported(App{})

func TestParse(t *testing.T) {
	yes := true
	for _, tc := range []struct {
		name string
		args []string
		want []App
	}{
		{"nothing", nil, nil},
		{"two images", []string{"a", "b"}, []App{{Image: "a"}, {Image: "b"}}},
		{"separator alone", []string{"a", "---", "b"}, []App{{Image: "a"}, {Image: "b"}}},
		{"separator first", []string{"---", "a"}, []App{{Image: "a"}}},
		{"args", []string{"a", "--", "x", "--exec", "-y", "--", "---", "b", "--", "z"}, []App{
			{Image: "a", Args: []string{"x", "--exec", "-y", "--"}},
			{Image: "b", Args: []string{"z"}},
		}},
		{"empty words", []string{"", "a", "", "--", "x", "", "y"}, []App{{Image: "a", Args: []string{"x", "", "y"}}}},
		{"flags belong to the nearest image", []string{"a", "--exec", "/x", "b", "--exec=/y"}, []App{{Image: "a", Exec: "/x"}, {Image: "b", Exec: "/y"}}},
		{"flags after args", []string{"a", "--", "x", "---", "--user=u"}, []App{{Image: "a", Args: []string{"x"}, User: "u"}}},
		{"a dash is an image", []string{"-"}, []App{{Image: "-"}}},
		{"readonly takes the next word", []string{"a", "--readonly-rootfs", "true", "b"}, []App{{Image: "a", ReadOnlyRootFS: &yes}, {Image: "b"}}},
		{"net does not", []string{"a", "--net", "b"}, []App{{Image: "a"}, {Image: "b"}}},
		{"accumulating flags", []string{
			"a", "--environment=A=1", "--environment=B=2=3", "--environment=A=4", "--supplementary-gids=1,2", "--supplementary-gids=3",
			"--annotation=k=v", "--annotation=k=w", "--user-annotation=x y=1", "--user-label=l=", "--mount", "volume=v,target=/t",
		}, []App{{
			Image: "a", Environment: appc.Environment{{Name: "A", Value: "4"}, {Name: "B", Value: "2=3"}},
			SupplementaryGIDs: []int{1, 2, 3},
			Annotations:       appc.Annotations{{Name: "k", Value: "v"}},
			UserAnnotations:   map[string]string{"x y": "1"},
			UserLabels:        map[string]string{"l": ""},
			Mounts:            []appc.Mount{{Volume: "v", Path: "/t"}},
		}}},
		{"the rest: last wins", []string{"a", "--name=x", "--name=y", "--user=1", "--user=2", "--stdout=log", "--stdout=null"}, []App{
			{Image: "a", Name: "y", User: "2", Stdout: "null"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, _, err := parse(tc.args...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, p.Apps, ignoreSeen); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseGlobalFlagsAnywhere(t *testing.T) {
	_, fs, err := parse("--debug", "a", "--dir", "/x", "--", "--debug=false")
	if err != nil {
		t.Fatal(err)
	}
	debug, _ := fs.GetBool("debug")
	dir, _ := fs.GetString("dir")
	if !debug || dir != "/x" {
		t.Errorf("debug %v, dir %q", debug, dir)
	}
}

func TestParseHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"a", "-h"}, {"a", "--exec=x", "--help", "--bogus"}} {
		if _, _, err := parse(args...); !errors.Is(err, ErrHelp) {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, _, err := parse("a", "--", "--help"); err != nil {
		t.Errorf("after --: %v", err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
		flag bool // reported as a flag that could not be parsed
	}{
		{[]string{"--bogus"}, "unknown flag: --bogus", true},
		{[]string{"a", "--bogus"}, "unknown flag: --bogus", false},
		{[]string{"a", "--exec"}, "flag needs an argument: --exec", false},
		{[]string{"--exec", "x", "a"}, "--exec must follow an image", true},
		{[]string{"--caps-remove=CAP_KILL"}, "--caps-remove must follow an image", true},
		{[]string{"--stdin=null"}, "--stdin must follow an image", true},
		{[]string{"-xyz"}, "unknown shorthand flag: 'x' in -xyz", true},
		{[]string{"--", "x"}, "an image is required before any app arguments", false},
		{[]string{"a", "--", "x", "---", "--", "y"}, "only one set of app arguments allowed per image", false},
		{[]string{"a", "--exec=x", "--exec=y"}, "--exec specified multiple times for the same image", false},
		{[]string{"a", "--signature=x", "--signature=y"}, "--signature specified multiple times for the same image", false},
		{[]string{"a", "--caps-retain=CAP_KILL", "--caps-remove=CAP_CHOWN"}, "cannot use both --caps-retain and --caps-remove on the same image", false},
		{[]string{"a", "--readonly-rootfs", "maybe"}, "--readonly-rootfs must be set with a boolean", false},
		{[]string{"a", "--supplementary-gids=1,x"}, "--supplementary-gids must be integers", false},
		{[]string{"a", "--supplementary-gids=-1"}, "--supplementary-gids must be integers", false},
		{[]string{"a", "--supplementary-gids=4294967295"}, "--supplementary-gids must be integers", false},
		{[]string{"a", "--environment=x"}, `invalid format of --environment flag "x"`, false},
		{[]string{"a", "--annotation=x"}, `invalid format of --annotation flag "x"`, false},
		{[]string{"a", "--user-annotation=x"}, `invalid format of --user-annotation flag "x"`, false},
		{[]string{"a", "--user-label=x"}, `invalid format of --user-label flag "x"`, false},
		{[]string{"a", "--mount=volume=v,target=/t,x=y"}, `unknown mount parameter "x"`, false},
		{[]string{"a", "--memory=1k"}, "memory limit of 1000 bytes too low", false},
		{[]string{"a", "--cpu-shares=1"}, "cpu-shares must be between 2 and 262144, got 1", false},
		{[]string{"a", "--stdin=log"}, `invalid stdin mode "log"`, false},
		{[]string{"a", "--stdout=x"}, `invalid stdout mode "x"`, false},
		{[]string{"a", "--name=A"}, `--name`, false},
		{[]string{"a", "--working-dir=x"}, "--working-dir must be an absolute path", false},
		{[]string{"---x"}, "bad flag syntax: ---x", true},
	} {
		_, _, err := parse(tc.args...)
		var flagErr *FlagError
		if err == nil || !strings.Contains(err.Error(), tc.want) || errors.As(err, &flagErr) != tc.flag {
			t.Errorf("%q: %v\nwant %s (flag error %v)", tc.args, err, tc.want, tc.flag)
		}
	}
}

func TestParseNoArgs(t *testing.T) {
	p := &Parser{NoArgs: true}
	fs := pflag.NewFlagSet("fetch", pflag.ContinueOnError)
	p.BindSignature(fs)
	if err := p.Parse(fs, []string{"a", "--", "b"}); !errors.Is(err, ErrArgsUnsupported) {
		t.Error(err)
	}
}

func TestMounts(t *testing.T) {
	p, _, err := parse("--mount", "volume=g,target=/a/", "--mount=volume=g,target=/b", "img", "--mount=volume=l,target=/a", "--mount=volume=l,target=/c%2C")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Mounts) != 2 || len(p.Apps[0].Mounts) != 2 || p.Apps[0].Mounts[1].Path != "/c," {
		t.Errorf("%+v, %+v", p.Mounts, p.Apps[0].Mounts)
	}
	var volumes VolumeFlag
	for _, s := range []string{"l,kind=empty", "g,kind=host,source=/x"} {
		if err := volumes.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.CheckMounts(volumes); err != nil {
		t.Error(err)
	}
	err = p.CheckMounts(volumes[:1])
	if fmt.Sprint(err) != `dangling mount point "/a/": volume "g" not found` {
		t.Error(err)
	}
}

func TestVolumeFlagErrors(t *testing.T) {
	var f VolumeFlag
	for _, tc := range []struct{ value, want string }{
		{"v,kind=host,source=/a", ""},
		{"v,kind=empty", `duplicate volume name "v"`},
		{"w", `unrecognized volume kind: should be one of "empty", "host"`},
		{"w,kind=host,source=a", `invalid value in --volume flag "w,kind=host,source=a": `},
	} {
		err := f.Set(tc.value)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.value, err, tc.want)
		}
	}
}

// FuzzParse checks that what was parsed, written out in one fixed order,
// parses to the same.
func FuzzParse(f *testing.F) {
	for _, words := range [][]string{
		{"a", "--exec", "/x", "b", "--", "c", "", "---", "--user=1"},
		{"--debug", "--mount=volume=v,target=/t", "a", "--mount", "volume=w,target=%2Ft"},
		{"a", "---", "--environment=A=b", "--annotation", "k=v", "--user-label", "x=y", "--supplementary-gids=1,2"},
		{"a", "--readonly-rootfs", "0", "--stdin=null", "--name=n", "--working-dir", "/"},
	} {
		f.Add(strings.Join(words, "\n"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, _, err := parse(strings.Split(text, "\n")...)
		if err != nil {
			return
		}
		for _, a := range p.Apps {
			if len(a.Isolators) > 0 {
				return // their values do not print back as flags
			}
			for _, w := range a.Args {
				if w == "---" {
					t.Fatalf("the end mark is among the arguments: %q", a.Args)
				}
			}
		}
		again, _, err := parse(words(p)...)
		if err != nil {
			t.Fatalf("%q: %v", words(p), err)
		}
		if diff := cmp.Diff(p.Apps, again.Apps, ignoreSeen, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(p.Mounts, again.Mounts); diff != "" {
			t.Error(diff)
		}
	})
}

// words writes a parser's state as arguments.
func words(p *Parser) []string {
	var out []string
	flag := func(name, value string) { out = append(out, "--"+name, value) }
	mounts := func(list []appc.Mount) {
		for _, m := range list {
			flag("mount", "volume="+string(m.Volume)+",target="+percent(m.Path))
		}
	}
	mounts(p.Mounts)
	for _, a := range p.Apps {
		out = append(out, a.Image)
		for name, value := range map[string]string{
			"signature": a.Signature, "name": a.Name, "exec": a.Exec, "user": a.User, "group": a.Group,
			"working-dir": a.WorkingDir, "stdin": a.Stdin, "stdout": a.Stdout, "stderr": a.Stderr,
		} {
			if value != "" {
				flag(name, value)
			}
		}
		for _, gid := range a.SupplementaryGIDs {
			flag("supplementary-gids", fmt.Sprint(gid))
		}
		if a.ReadOnlyRootFS != nil {
			flag("readonly-rootfs", fmt.Sprint(*a.ReadOnlyRootFS))
		}
		for _, e := range a.Environment {
			flag("environment", e.Name+"="+e.Value)
		}
		for _, x := range a.Annotations {
			flag("annotation", string(x.Name)+"="+x.Value)
		}
		for k, v := range a.UserAnnotations {
			flag("user-annotation", k+"="+v)
		}
		for k, v := range a.UserLabels {
			flag("user-label", k+"="+v)
		}
		mounts(a.Mounts)
		out = append(append(append(out, "--"), a.Args...), "---")
	}
	return out
}

func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
