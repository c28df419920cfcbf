// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"time"
)

// document is an SPDX 2.3 document, as far as it is used here
// (https://spdx.github.io/spdx-spec/v2.3/).
type document struct {
	Version   string         `json:"spdxVersion"`
	License   string         `json:"dataLicense"`
	ID        string         `json:"SPDXID"`
	Name      string         `json:"name"`
	Namespace string         `json:"documentNamespace"`
	Creation  creation       `json:"creationInfo"`
	Packages  []spdxPackage  `json:"packages"`
	Relations []relationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID        string        `json:"SPDXID"`
	Name      string        `json:"name"`
	Version   string        `json:"versionInfo"`
	Location  string        `json:"downloadLocation"`
	Analyzed  bool          `json:"filesAnalyzed"`
	Concluded string        `json:"licenseConcluded"`
	Declared  string        `json:"licenseDeclared"`
	Copyright string        `json:"copyrightText"`
	Refs      []externalRef `json:"externalRefs,omitempty"`
}

type externalRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const noAssertion = "NOASSERTION"

var notID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// WriteSBOM writes the bill of materials of a version of rkt as SPDX 2.3 JSON.
func WriteSBOM(w io.Writer, version string, date time.Time, modules []Module, packages []Package) error {
	d := document{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: "rkt-" + version,
		Namespace: "https://github.com/rkt/rkt/releases/" + url.PathEscape(version) + "/sbom",
		Creation:  creation{date.UTC().Format(time.RFC3339), []string{"Tool: rkt-mkparts"}},
	}
	add := func(name, version, licence, purl string) {
		p := spdxPackage{
			ID: "SPDXRef-" + notID.ReplaceAllString(fmt.Sprintf("%d-%s-%s", len(d.Packages), name, version), "-"), Name: name, Version: version,
			Location: noAssertion, Concluded: licence, Declared: licence, Copyright: noAssertion,
			Refs: []externalRef{{"PACKAGE-MANAGER", "purl", purl}},
		}
		d.Packages = append(d.Packages, p)
		if len(d.Packages) == 1 {
			d.Relations = append(d.Relations, relationship{d.ID, "DESCRIBES", p.ID})
			return
		}
		d.Relations = append(d.Relations, relationship{d.Packages[0].ID, "CONTAINS", p.ID})
	}
	add("rkt", version, "Apache-2.0", "pkg:golang/github.com/rkt/rkt/v2@"+url.PathEscape(version))
	for _, m := range modules {
		licence := noAssertion
		if m.Path == "std" {
			licence = "BSD-3-Clause"
		}
		add(m.Path, m.Version, licence, "pkg:golang/"+m.Path+"@"+url.PathEscape(m.Version))
	}
	for _, p := range packages {
		add(p.Name, p.Version, noAssertion, "pkg:deb/debian/"+url.PathEscape(p.Name)+"@"+url.PathEscape(p.Version))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}
