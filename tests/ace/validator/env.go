// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/tests/ace/expect"
)

// variable is a check of one variable.
func variable(name, value string) func() error {
	return func() error {
		got, ok := os.LookupEnv(name)
		if !ok {
			return fmt.Errorf("%s is not set", name)
		}
		return same(got, value)
	}
}

// ownEnv is what an app's image sets and the account of its user gives.
type ownEnv struct {
	app, path         string
	user, home, shell string
	image             map[string]string
}

func mainEnv() ownEnv {
	return ownEnv{app: expect.Main, path: expect.DefaultPath, user: expect.User, home: expect.Home, shell: expect.Shell, image: expect.Env()}
}

func sidekickEnv() ownEnv {
	return ownEnv{app: expect.Sidekick, path: expect.SidekickPath, user: "root", home: "/root", shell: "/bin/sh", image: map[string]string{"PATH": expect.SidekickPath}}
}

// envChecks are the checks of the execution environment.
func envChecks(e ownEnv) []check {
	return []check{
		{"env.PATH", variable("PATH", e.path)},
		{"env.AC_APP_NAME", variable("AC_APP_NAME", e.app)},
		{"env.container", variable("container", "rkt")},
		{"env.AC_METADATA_URL", noMetadata},
		{"env.USER", variable("USER", e.user)},
		{"env.LOGNAME", variable("LOGNAME", e.user)},
		{"env.HOME", variable("HOME", e.home)},
		{"env.SHELL", variable("SHELL", e.shell)},
		{"env.of-image", func() error { return imageEnv(e.image) }},
		{"env.nothing-else", func() error { return nothingElse(e.image) }},
		{"env.no-duplicates", noDuplicates},
	}
}

// noMetadata: the URL is set when the pod is registered with a metadata
// service, and only then.
func noMetadata() error {
	if url, ok := os.LookupEnv("AC_METADATA_URL"); ok {
		return fmt.Errorf("%q in a pod that is not registered", url)
	}
	return nil
}

func imageEnv(want map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if err := variable(name, want[name])(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// nothingElse looks for variables of the caller. A service manager may add
// what tells the app about itself.
func nothingElse(image map[string]string) error {
	known := []string{
		"PATH", "SHELL", "USER", "LOGNAME", "HOME", "container", "AC_APP_NAME", "TERM",
		"INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
	}
	for _, kv := range os.Environ() {
		name, _, ok := strings.Cut(kv, "=")
		if !ok {
			return fmt.Errorf("%q is no NAME=VALUE", kv)
		}
		if _, own := image[name]; !own && !slices.Contains(known, name) {
			return fmt.Errorf("%q, which neither the image nor the specification sets", kv)
		}
	}
	return nil
}

func noDuplicates() error {
	seen := map[string]bool{}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if seen[name] {
			return fmt.Errorf("%s is set twice", name)
		}
		seen[name] = true
	}
	return nil
}
