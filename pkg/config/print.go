// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"maps"
	"slices"
)

// redacted replaces a secret; it is not empty so that the element stays a
// valid configuration file.
const redacted = "REDACTED"

// Print renders c as `rkt config` shows it: one element per auth domain,
// docker registry and registry prefix, sorted, then paths and stage1. Each element is a valid
// configuration file. With redact no secret is in the result.
func (c *Config) Print(pretty, redact bool) ([]byte, error) {
	out := struct {
		Stage0 []any `json:"stage0"`
	}{}
	for _, domain := range slices.Sorted(maps.Keys(c.Auth)) {
		out.Stage0 = append(out.Stage0, printAuth(domain, c.Auth[domain], redact))
	}
	for _, registry := range slices.Sorted(maps.Keys(c.DockerAuth)) {
		out.Stage0 = append(out.Stage0, printDockerAuth(registry, c.DockerAuth[registry], redact))
	}
	for _, prefix := range slices.Sorted(maps.Keys(c.Registries)) {
		out.Stage0 = append(out.Stage0, printRegistry(prefix, c.Registries[prefix]))
	}
	out.Stage0 = append(out.Stage0,
		pathsFile{header{Version, string(KindPaths)}, c.Paths.Data, c.Paths.Stage1Images},
		stage1File{header{Version, string(KindStage1)}, c.Stage1.Name, c.Stage1.Version, c.Stage1.Location})
	if pretty {
		return json.MarshalIndent(out, "", "\t")
	}
	return json.Marshal(out)
}

type authElement struct {
	header
	Domains     []string `json:"domains"`
	Type        AuthType `json:"type"`
	Credentials any      `json:"credentials"`
}

func printAuth(domain string, e AuthEntry, redact bool) authElement {
	out := authElement{header{Version, string(KindAuth)}, []string{domain}, e.Type, nil}
	switch e.Type {
	case AuthBasic:
		out.Credentials = e.Basic.shown(redact)
	case AuthOAuth:
		out.Credentials = oauth{secret(e.Token, e.TokenFile, redact), e.TokenFile}
	case AuthAWS:
		aws := e.AWS
		aws.SecretAccessKey = secret(aws.SecretAccessKey, aws.SecretAccessKeyFile, redact)
		out.Credentials = aws
	}
	return out
}

type dockerAuthElement struct {
	header
	Registries  []string `json:"registries"`
	Credentials Basic    `json:"credentials"`
}

func printDockerAuth(registry string, b Basic, redact bool) dockerAuthElement {
	return dockerAuthElement{
		header{Version, string(KindDockerAuth)},
		[]string{registry},
		b.shown(redact),
	}
}

func (b Basic) shown(redact bool) Basic {
	b.Password = secret(b.Password, b.PasswordFile, redact)
	return b
}

// secret is what is shown of a secret: nothing if the file it is in is shown.
func secret(s, file string, redact bool) string {
	switch {
	case file != "":
		return ""
	case redact:
		return redacted
	}
	return s
}

func printRegistry(prefix string, r Registry) registryFile {
	f := registryFile{
		header: header{Version, string(KindRegistry)}, Prefix: prefix, Location: r.Location,
		Blocked: r.Blocked, Insecure: r.Insecure, Mirrors: []mirrorFile{},
	}
	for _, m := range r.Mirrors {
		f.Mirrors = append(f.Mirrors, mirrorFile(m))
	}
	return f
}
