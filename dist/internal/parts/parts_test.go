// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Programs say themselves what is in them; test programs do not.
func TestModules(t *testing.T) {
	program := filepath.Join(t.TempDir(), "mkparts")
	if out, err := exec.Command("go", "build", "-o", program, "../../mkparts").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	modules, err := Modules([]string{program, program})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(modules, func(m Module) bool { return m.Path == "github.com/klauspost/compress" })
	if i < 0 || !slices.ContainsFunc(modules, func(m Module) bool { return m.Path == "std" }) {
		t.Fatalf("modules %v", modules)
	}
	texts, err := modules[i].Licences()
	if err != nil || !strings.Contains(texts["LICENSE"], "Redistribution") {
		t.Errorf("licences %v, %v", texts, err)
	}
}

func TestPackages(t *testing.T) {
	terms := map[string]string{"libc6": "terms"}
	if got, err := packages("libc6 2.36\n", terms); err != nil || len(got) != 1 || got[0] != (Package{"libc6", "2.36", "terms"}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, list := range []string{"", "libc6\n", "libc6 2.36\nsystemd 252\n"} {
		if got, err := packages(list, terms); err == nil {
			t.Errorf("%q gives %v", list, got)
		}
	}
}

func TestSBOM(t *testing.T) {
	var b bytes.Buffer
	err := WriteSBOM(&b, "2.0.0", time.Unix(0, 0), []Module{{"example.com/m", "v1", ""}}, []Package{{"libc6", "2.36+1", ""}})
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(b.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Packages) != 3 || len(d.Relations) != 3 || d.Creation.Created != "1970-01-01T00:00:00Z" {
		t.Errorf("document %+v", d)
	}
	if got := d.Packages[1].Refs[0].Locator; got != "pkg:golang/example.com/m@v1" {
		t.Errorf("purl %s", got)
	}
}
