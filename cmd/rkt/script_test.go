// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/appc"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"rkt": main}) }

// TestScripts runs testdata/script/*.txtar, one behaviour a file. Each has its
// own $DATA, to be used as data directory, and empty configuration directories,
// which "status" points rkt to.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		UpdateScripts:      os.Getenv("UPDATE_SCRIPTS") != "",
		RequireUniqueNames: true,
		Condition:          condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": cmdStatus,
			"mkaci":  cmdMkACI,

			"breakfiles": cmdBreakFiles,
			"mklayout":   cmdMkLayout,
			"setline":    cmdSetLine,

			"mkkey":  cmdMkKey,
			"sign":   cmdSign,
			"serves": cmdServes,

			"internet": cmdInternet,

			"registry":  cmdRegistry,
			"pushimage": cmdPushImage,
			"mkcosign":  cmdMkCosign,
			"cosign":    cmdCosign,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("DATA", filepath.Join(env.WorkDir, "data"))
			env.Setenv("TAB", "\t")
			for _, dir := range []string{"system", "local"} {
				if err := os.MkdirAll(filepath.Join(env.WorkDir, dir), 0o755); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// condition knows [root]. A need that RKT_TEST_MUSTRUN lists must be met.
func condition(cond string) (bool, error) {
	if cond != "root" {
		return false, fmt.Errorf("unknown condition %q", cond)
	}
	met := os.Geteuid() == 0
	for _, need := range strings.Split(os.Getenv("RKT_TEST_MUSTRUN"), ",") {
		if !met && (need == "root" || need == "all") {
			return false, errors.New("needs root: run the tests as root")
		}
	}
	return met, nil
}

// cmdStatus is "status N rkt ARG...": rkt ends with exit status N.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || args[1] != "rkt" {
		ts.Fatalf("usage: status N rkt ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := runRkt(ts, args[2:]); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func runRkt(ts *testscript.TestScript, args []string) error {
	dirs := []string{"--system-config=" + ts.MkAbs("system"), "--local-config=" + ts.MkAbs("local")}
	return ts.Exec("rkt", append(dirs, args...)...)
}

// cmdBreakFiles is "breakfiles FILE PATTERN": each file that matches gets the
// content of FILE, as if it was written long after what is in it.
func cmdBreakFiles(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: breakfiles FILE PATTERN")
	}
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	paths, err := filepath.Glob(ts.MkAbs(args[1]))
	ts.Check(err)
	if len(paths) == 0 {
		ts.Fatalf("no file matches %s", args[1])
	}
	later := time.Now().Add(time.Minute)
	for _, path := range paths {
		ts.Check(os.WriteFile(path, data, 0o644))
		ts.Check(os.Chtimes(path, later, later))
	}
}

// cmdSetLine is "setline VARIABLE stdout": the variable is what the last command
// printed, without the end of the line.
func cmdSetLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setline VARIABLE FILE")
	}
	ts.Setenv(args[0], strings.TrimSuffix(ts.ReadFile(args[1]), "\n"))
}

// cmdMkLayout is "mklayout DIR ARCH...": an OCI image layout with one image for
// each of several architectures of Linux.
func cmdMkLayout(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mklayout DIR ARCH...")
	}
	var list []mutate.IndexAddendum
	for _, arch := range args[1:] {
		img, err := random.Image(100, 2)
		ts.Check(err)
		config, err := img.ConfigFile()
		ts.Check(err)
		config.OS, config.Architecture = "linux", arch
		config.Config.Cmd = []string{"/hello"}
		img, err = mutate.ConfigFile(img, config)
		ts.Check(err)
		platform := &v1.Platform{OS: "linux", Architecture: arch}
		list = append(list, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	_, err := layout.Write(ts.MkAbs(args[0]), mutate.AppendManifests(empty.Index, list...))
	ts.Check(err)
}

// cmdMkACI is "mkaci FILE NAME VERSION [LABEL=VALUE...]": an image whose rootfs
// is the directory rootfs, with "exec /hello" as its app.
func cmdMkACI(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: mkaci FILE NAME VERSION [LABEL=VALUE...]")
	}
	goos, arch := appc.HostLabels()
	m := &appc.ImageManifest{
		ACKind: "ImageManifest", ACVersion: appc.ACVersion, Name: appc.Identifier(args[1]),
		Labels: appc.Labels{{Name: "version", Value: args[2]}, {Name: "os", Value: goos}, {Name: "arch", Value: arch}},
		App:    &appc.App{Exec: []string{"/hello"}, User: "0", Group: "0"},
	}
	for _, label := range args[3:] {
		name, value, _ := strings.Cut(label, "=")
		m.Labels = append(m.Labels, appc.Label{Name: appc.Identifier(name), Value: value})
	}
	layout := filepath.Join(ts.MkAbs("."), filepath.Base(args[0])+".layout")
	rootfs := filepath.Join(layout, "rootfs")
	ts.Check(os.MkdirAll(rootfs, 0o755))
	ts.Check(os.WriteFile(filepath.Join(rootfs, "hello"), []byte("hello\n"), 0o755))
	raw, err := m.Marshal()
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(layout, "manifest"), raw, 0o644))
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	epoch := time.Unix(1, 0)
	ts.Check(aci.BuildLayout(context.Background(), f, layout, m, aci.BuildOptions{OwnerRoot: true, ModTime: epoch, ClampTimes: true}))
	ts.Check(f.Close())
}
