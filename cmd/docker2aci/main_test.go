// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rkt/rkt/v2/cmd/internal/fetchstore"
	"github.com/rkt/rkt/v2/cmd/internal/scripttest"
	"github.com/rkt/rkt/v2/pkg/aci"
	"github.com/rkt/rkt/v2/pkg/fetch"
	"github.com/rkt/rkt/v2/store/imagestore"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"docker2aci": main})
}

// TestScript runs testdata/script/*.txtar, one behaviour a file. Each has a
// registry of its own, $REGISTRY, with the image redis:7, and the archives saved.tar,
// two.tar, oci.tar, draft.tar and old.tar of it.
func TestScript(t *testing.T) {
	p := scripttest.Params()
	p.Setup = setup
	p.Cmds["same-as-rkt"], p.Cmds["aci"], p.Cmds["same-tree"] = sameAsRkt, showACI, sameTree
	testscript.Run(t, p)
}

// sameAsRkt is "same-as-rkt FILE.aci IMAGE": the file has the image ID that
// rkt gives IMAGE.
func sameAsRkt(ts *testscript.TestScript, _ bool, args []string) {
	dir, err := os.MkdirTemp(ts.Getenv("WORK"), "store-")
	ts.Check(err)
	ctx := context.Background()
	store, err := imagestore.Open(ctx, dir, imagestore.Options{})
	ts.Check(err)
	defer store.Close()
	f := &fetch.Fetcher{Store: fetchstore.New(store), Insecure: fetch.Insecure{Image: true}}
	want, err := f.Fetch(ctx, strings.ReplaceAll(args[1], "FILE:", ts.Getenv("WORK")+"/"), fetch.ImageOptions{})
	ts.Check(err)
	file, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer file.Close()
	got, err := store.ImportACI(ctx, file, imagestore.ImportOptions{})
	ts.Check(err)
	if got.Key() != want.Key() {
		ts.Fatalf("%s has the image ID %s, rkt's image is %s", args[0], got, want)
	}
}

// content lists the entries of an ACI but for metadata.
func content(ts *testscript.TestScript, path string) (manifest []byte, entries map[string]string) {
	f, err := os.Open(ts.MkAbs(path))
	ts.Check(err)
	defer f.Close()
	plain, _, err := aci.Open(f)
	ts.Check(err)
	defer plain.Close()
	entries = map[string]string{}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return manifest, entries
		}
		ts.Check(err)
		data, err := io.ReadAll(r)
		ts.Check(err)
		if h.Name == "manifest" {
			manifest = data
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "rootfs"), "/")
		entries[name] = fmt.Sprintf("%c %o %s %q", h.Typeflag, h.Mode, h.Linkname, data)
	}
}

// showACI is "aci FILE": prints manifest and entries.
func showACI(ts *testscript.TestScript, _ bool, args []string) {
	manifest, entries := content(ts, args[0])
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n", manifest)
	for name, what := range entries {
		fmt.Fprintf(&out, "%s %s\n", name, what)
	}
	_, _ = io.WriteString(ts.Stdout(), out.String())
}

// sameTree is "same-tree SQUASHED LAYER...": the layers, one over the other and cut to
// the white list of the last one, are the squashed image.
func sameTree(ts *testscript.TestScript, _ bool, args []string) {
	_, want := content(ts, args[0])
	got := map[string]string{}
	var top struct{ PathWhitelist []string }
	for _, path := range args[1:] {
		manifest, entries := content(ts, path)
		top.PathWhitelist = nil
		ts.Check(json.Unmarshal(manifest, &top))
		for name, what := range entries {
			got[name] = what
		}
	}
	cut := map[string]string{"": got[""]}
	for _, p := range top.PathWhitelist {
		cut[p] = got[p]
	}
	if fmt.Sprint(cut) != fmt.Sprint(want) {
		ts.Fatalf("rendered: %v\nsquashed: %v", cut, want)
	}
}

func setup(env *testscript.Env) error {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	env.Defer(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	env.Setenv("REGISTRY", host)
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("TMPDIR", env.WorkDir)
	i := newImage()
	if err := i.push(server.URL, "redis", "7"); err != nil {
		return err
	}
	for name, files := range i.archives() {
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), pack(files), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// image is what the tests convert: three layers, the top one removes a file.
type image struct {
	layers           [][]byte
	config, manifest []byte
}

type file struct{ name, content string }

func pack(files []file) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		switch {
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o750
		case strings.HasPrefix(f.content, "->"):
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, f.content[2:], 0
			f.content = ""
		}
		must(w.WriteHeader(h))
		_, err := io.WriteString(w, f.content)
		must(err)
	}
	must(w.Close())
	return out.Bytes()
}

// must panics: the images are made of constants.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func descriptor(mediaType string, data []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": digest(data), "size": len(data)}
}

func newImage() *image {
	i := &image{layers: [][]byte{
		pack([]file{{"etc/", ""}, {"etc/a", "base"}, {"etc/gone", "x"}, {"data/", ""}, {"data/old", "old"}}),
		pack([]file{{"etc/b", "middle"}, {"etc/c", "->etc/b"}, {"data/.wh..wh..opq", ""}, {"data/new", "new"}}),
		pack([]file{{"etc/.wh.gone", ""}, {"etc/a", "top"}}),
	}}
	var diffIDs []string
	var layers []any
	for _, l := range i.layers {
		diffIDs = append(diffIDs, digest(l))
		layers = append(layers, descriptor("application/vnd.oci.image.layer.v1.tar", l))
	}
	config := map[string]any{
		"os": "linux", "architecture": "amd64", "created": "2024-01-02T03:04:05Z",
		"config": map[string]any{
			"Cmd": []string{"/redis"}, "Volumes": map[string]any{"/data": struct{}{}}, "ExposedPorts": map[string]any{"6379/tcp": struct{}{}},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	}
	var err error
	i.config, err = json.Marshal(config)
	must(err)
	i.manifest, err = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": ociManifest,
		"config": descriptor("application/vnd.oci.image.config.v1+json", i.config), "layers": layers,
	})
	must(err)
	return i
}

const ociManifest = "application/vnd.oci.image.manifest.v1+json"

func (i *image) push(url, repo, tag string) error {
	send := func(method, path, contentType string, body []byte) error {
		req, err := http.NewRequest(method, url+path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", contentType)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("%s %s: %s", method, path, resp.Status)
		}
		return nil
	}
	for _, data := range append([][]byte{i.config}, i.layers...) {
		if err := send(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digest(data), "application/octet-stream", data); err != nil {
			return err
		}
	}
	return send(http.MethodPut, "/v2/"+repo+"/manifests/"+tag, ociManifest, i.manifest)
}

func (i *image) archives() map[string][]file {
	blob := func(data []byte) file { return file{"blobs/sha256/" + digest(data)[7:], string(data)} }
	blobs := []file{blob(i.config), blob(i.manifest)}
	var saved, old []file
	var names []string
	parent := ""
	for n, l := range i.layers {
		blobs = append(blobs, blob(l))
		id := strings.Repeat(strconv.Itoa(n+1), 64)
		names = append(names, id+"/layer.tar")
		saved = append(saved, file{id + "/layer.tar", string(l)})
		old = append(old, file{id + "/json", fmt.Sprintf(
			`{"id":%q,"parent":%q,"os":"linux","architecture":"amd64","config":{"Cmd":["/redis"]}}`, id, parent)})
		parent = id
	}
	list, err := json.Marshal(names)
	must(err)
	config := digest(i.config)[7:] + ".json"
	entry := func(tags string) string {
		return fmt.Sprintf(`{"Config":%q,"RepoTags":[%s],"Layers":%s}`, config, tags, list)
	}
	manifest := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d`, ociManifest, digest(i.manifest), len(i.manifest))
	saved = append(saved, file{config, string(i.config)})
	layout := append([]file{{"oci-layout", `{"imageLayoutVersion":"1.0.0"}`}}, blobs...)
	return map[string][]file{
		"saved.tar": append([]file{{"manifest.json", "[" + entry(`"redis:7"`) + "]"}}, saved...),
		"two.tar":   append([]file{{"manifest.json", "[" + entry(`"redis:7","redis:latest"`) + "," + entry(`"h:5000/x/valkey:8"`) + "]"}}, saved...),
		"oci.tar": append([]file{{"index.json", `{"schemaVersion":2,"manifests":[` + manifest +
			`,"annotations":{"org.opencontainers.image.ref.name":"7"}}]}`}}, layout...),
		"draft.tar": append([]file{{"refs/7", manifest + "}"}}, layout...),
		"old.tar": append([]file{{"repositories", fmt.Sprintf(`{"redis":{"7":%q}}`, parent)}},
			append(old, saved[:len(i.layers)]...)...),
		"empty.tar": {{"manifest.json", "[]"}},
		"loop.tar": {
			{"repositories", `{"a":{"1":"aa"}}`},
			{"aa/json", `{"parent":"bb"}`},
			{"aa/layer.tar", string(i.layers[0])},
			{"bb/json", `{"parent":"aa"}`},
			{"bb/layer.tar", string(i.layers[0])},
		},
		"bad-id.tar": {{"repositories", `{"a":{"1":"../../etc"}}`}},
		"gap.tar":    {{"repositories", `{"a":{"1":"aa"}}`}, {"aa/json", `{}`}},
	}
}
