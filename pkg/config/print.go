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

// Print renders c as `rkt config` shows it: one element per auth domain and
// docker registry, sorted, then paths and stage1. Each element is a valid
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
		out.Credentials = Basic{e.Basic.User, secret(e.Basic.Password, redact)}
	case AuthOAuth:
		out.Credentials = oauth{secret(e.Token, redact)}
	case AuthAWS:
		out.Credentials = AWS{e.AWS.AccessKeyID, secret(e.AWS.SecretAccessKey, redact), e.AWS.Region}
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
		Basic{b.User, secret(b.Password, redact)},
	}
}

func secret(s string, redact bool) string {
	if redact {
		return redacted
	}
	return s
}
