// SPDX-License-Identifier: Apache-2.0

package trustpolicy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/cosign"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// Requirement is what an image has to meet.
type Requirement string

// The requirements.
const (
	Reject         Requirement = "reject"
	AcceptAnything Requirement = "insecureAcceptAnything"
	Sigstore       Requirement = "sigstore"
	Digest         Requirement = "digest"
	PGP            Requirement = "pgp"
)

// Rule is one rule.
type Rule struct {
	Scope       Scope
	Requirement Requirement
	Key         *cosign.Key // of Sigstore
	Digests     []string    // of Digest; none: any that the reference names itself
	File        string      // where the rule is
}

// Rules are in the order in which they are asked.
type Rules []Rule

// ForDocker are the rules that count for an image of a registry.
func (r Rules) ForDocker(host, repository string) Rules {
	return r.which(func(s Scope) bool { return s.coversDocker(host, repository) })
}

// ForLocal are the rules that count for an image of local files. path is
// absolute, clean and free of symbolic links.
func (r Rules) ForLocal(form Form, path string) Rules {
	return r.which(func(s Scope) bool { return s.coversLocal(form, path) })
}

// ForACI are the rules that count for an appc image.
func (r Rules) ForACI(name appc.Identifier) Rules {
	return r.which(func(s Scope) bool { return s.coversACI(name) })
}

func (r Rules) which(covers func(Scope) bool) Rules {
	var found Rules
	for i := range r {
		if covers(r[i].Scope) {
			found = append(found, r[i])
		}
	}
	return found
}

// Pinned tells whether a rule with the requirement Digest accepts an image:
// digests are those of its manifest and of the index that led to it, named
// is the one in the reference, if there is one.
func (r *Rule) Pinned(named string, digests ...string) bool {
	if len(r.Digests) == 0 {
		return named != "" && slices.Contains(digests, named)
	}
	return slices.ContainsFunc(digests, func(d string) bool { return d != "" && slices.Contains(r.Digests, d) })
}

// file is a policy as it is written.
type file struct {
	Kind    string     `json:"rktKind"`
	Version string     `json:"rktVersion"`
	Rules   []fileRule `json:"rules"`
}

type fileRule struct {
	Scope       string   `json:"scope"`
	Requirement string   `json:"requirement"`
	Key         string   `json:"key,omitempty"`     // PEM
	KeyFile     string   `json:"keyFile,omitempty"` // absolute path
	Digests     []string `json:"digests,omitempty"`
}

const (
	kind    = "trustPolicy"
	version = "v1"
)

// parse reads one file.
func parse(path string, data []byte) (Rules, error) {
	var f file
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the policy")
	}
	if f.Kind != kind || f.Version != version {
		return nil, fmt.Errorf("kind %q and version %q, not %q and %q", f.Kind, f.Version, kind, version)
	}
	if len(f.Rules) > maxRules {
		return nil, fmt.Errorf("more than %d rules", maxRules)
	}
	var rules Rules
	for i, fr := range f.Rules {
		r, err := fr.rule()
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
		r.File = path
		rules = append(rules, r)
	}
	return rules, nil
}

func (f *fileRule) rule() (Rule, error) {
	scope, err := ParseScope(f.Scope)
	if err != nil {
		return Rule{}, err
	}
	r := Rule{Scope: scope, Requirement: Requirement(f.Requirement), Digests: f.Digests}
	hasKey := f.Key != "" || f.KeyFile != ""
	switch r.Requirement {
	case Reject, PGP:
	case AcceptAnything, Sigstore, Digest:
		if !scope.IsImages() {
			return Rule{}, fmt.Errorf("requirement %q is for images of registries, and %q names none", f.Requirement, f.Scope)
		}
	default:
		return Rule{}, fmt.Errorf("unknown requirement %q", f.Requirement)
	}
	switch {
	case hasKey && r.Requirement != Sigstore:
		return Rule{}, fmt.Errorf("requirement %q has no use for a key", f.Requirement)
	case len(f.Digests) > 0 && r.Requirement != Digest:
		return Rule{}, fmt.Errorf("requirement %q has no use for digests", f.Requirement)
	case f.Key != "" && f.KeyFile != "":
		return Rule{}, errors.New("both key and keyFile")
	}
	for _, d := range f.Digests {
		if err := ociconv.CheckDigest(d); err != nil {
			return Rule{}, err
		}
	}
	if r.Requirement == Sigstore {
		r.Key, err = f.key()
	}
	return r, err
}

func (f *fileRule) key() (*cosign.Key, error) {
	text := []byte(f.Key)
	if f.KeyFile != "" {
		if !filepath.IsAbs(f.KeyFile) {
			return nil, fmt.Errorf("keyFile %q is not an absolute path", f.KeyFile)
		}
		var err error
		if text, err = readRegular(f.KeyFile); err != nil {
			return nil, err
		}
	}
	return cosign.ParseKey(text)
}
