// SPDX-License-Identifier: Apache-2.0

package appenv

import (
	"bytes"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// DefaultPath is the PATH of an app that sets none. It does not count when the
// app's program is looked up (spec apps.md 1.2).
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Variables that stage1 sets in every app, over anything else.
const (
	AppName     = "AC_APP_NAME"
	MetadataURL = "AC_METADATA_URL"
	Container   = "container"
	containerIs = "rkt"
)

// Layers are the sources of a runtime app's environment, weakest first.
type Layers struct {
	Inherited []string         // --inherit-env: rkt's own, as NAME=VALUE
	Image     appc.Environment // the app section
	File      appc.Environment // --set-env-file
	Set       appc.Environment // --set-env
	App       appc.Environment // --environment
}

// Merge returns the environment of the runtime app. A stronger source replaces
// a value in place; new names are appended; what is inherited only fills gaps.
func Merge(l Layers) appc.Environment {
	env := slices.Clone(l.Image)
	for _, layer := range []appc.Environment{l.File, l.Set, l.App} {
		for _, v := range layer {
			env.Set(v.Name, v.Value)
		}
	}
	for _, kv := range l.Inherited {
		name, value, ok := strings.Cut(kv, "=")
		// bash exports functions under names that no manifest may hold.
		if ok && appc.ValidEnvironmentName(name) {
			setDefault(&env, name, value)
		}
	}
	return env
}

// Runtime is what stage1 knows about an app it starts.
type Runtime struct {
	Environment appc.Environment // of the runtime app
	AppName     string
	MetadataURL string // empty if the pod is not registered
	// The account of the app's user, for defaults.
	User, Home, Shell string
}

// Compose returns the environment that the app sees.
func Compose(r Runtime) appc.Environment {
	env := slices.Clone(r.Environment)
	setDefault(&env, "PATH", DefaultPath)
	setDefault(&env, "SHELL", r.Shell)
	setDefault(&env, "USER", r.User)
	setDefault(&env, "LOGNAME", r.User)
	setDefault(&env, "HOME", r.Home)
	env.Set(Container, containerIs)
	env.Set(AppName, r.AppName)
	if r.MetadataURL != "" {
		env.Set(MetadataURL, r.MetadataURL)
	}
	return env
}

func setDefault(env *appc.Environment, name, value string) {
	if _, ok := env.Get(name); !ok {
		*env = append(*env, appc.EnvironmentVariable{Name: name, Value: value})
	}
}

// List returns the environment as execve takes it.
func List(env appc.Environment) []string {
	out := make([]string, 0, len(env))
	for _, v := range env {
		out = append(out, v.Name+"="+v.Value)
	}
	return out
}

// File returns the environment as rkt/env/<app> holds it: NAME=VALUE lines.
func File(env []string) []byte {
	var b bytes.Buffer
	for _, kv := range env {
		b.WriteString(kv)
		b.WriteByte('\n')
	}
	return b.Bytes()
}
