// SPDX-License-Identifier: Apache-2.0

package ociconv_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/ociconv"
)

func manifest(mediaType, config, layers string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, mediaType, config, layers)
}

func blob(mediaType, digest string, size int64) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest, size)
}

const (
	ociConfig    = "application/vnd.oci.image.config.v1+json"
	dockerConfig = "application/vnd.docker.container.image.v1+json"
	ociLayer     = "application/vnd.oci.image.layer.v1.tar+gzip"
)

func TestParseManifest(t *testing.T) {
	good := manifest(ociconv.OCIManifest, blob(ociConfig, digestA, 3), blob(ociLayer, digestB, 4))
	for _, contentType := range []string{ociconv.OCIManifest, ociconv.OCIManifest + "; charset=utf-8", "text/plain", ""} {
		m, err := ociconv.ParseManifest([]byte(good), contentType)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := m.Layers(&ociconv.Config{DiffIDs: []string{digestA}})
		if err != nil || len(layers) != 1 || layers[0].Digest != digestB || layers[0].DiffID != digestA || layers[0].Size != 4 {
			t.Errorf("got %+v, %v", layers, err)
		}
		if _, err := m.Layers(&ociconv.Config{}); err == nil {
			t.Error("a config without the layer was accepted")
		}
	}
}

func TestParseManifestErrors(t *testing.T) {
	config, layer := blob(ociConfig, digestA, 3), blob(ociLayer, digestB, 4)
	for name, tc := range map[string]struct {
		data, mediaType, want string
		artifact              bool
	}{
		"empty config artifact": {
			data:     manifest(ociconv.OCIManifest, blob("application/vnd.oci.empty.v1+json", digestA, 2), layer),
			artifact: true, want: "application/vnd.oci.empty.v1+json",
		},
		"artifactType": {
			data:     strings.Replace(manifest(ociconv.OCIManifest, config, layer), "{", `{"artifactType":"application/x",`, 1),
			artifact: true, want: `artifact of type "application/x"`,
		},
		"helm layer": {
			data:     manifest(ociconv.OCIManifest, config, blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", digestB, 4)),
			artifact: true, want: "layer 0",
		},
		"no layers":        {data: manifest(ociconv.OCIManifest, config, ""), want: "backend image had no useful layers: not creating ACI"},
		"md5":              {data: manifest(ociconv.OCIManifest, config, blob(ociLayer, "md5:0123456789abcdef0123456789abcdef", 4)), want: "unsupported digest"},
		"upper case":       {data: manifest(ociconv.OCIManifest, config, blob(ociLayer, strings.ToUpper(digestB), 4)), want: "unsupported digest"},
		"path in a digest": {data: manifest(ociconv.OCIManifest, config, blob(ociLayer, "sha256:../../../etc/passwd", 4)), want: "unsupported digest"},
		"negative size":    {data: manifest(ociconv.OCIManifest, config, blob(ociLayer, digestB, -1)), want: "size -1 is out of range"},
		"large config":     {data: manifest(ociconv.OCIManifest, blob(ociConfig, digestA, 9<<20), layer), want: "out of range"},
		"schema 1":         {data: `{"schemaVersion":1}`, want: "is not supported"},
		"index":            {data: `{"manifests":[]}`, want: "unsupported manifest type"},
		"confused":         {data: manifest(ociconv.OCIIndex, config, layer), mediaType: ociconv.OCIManifest, want: "says that it is of type"},
		"not JSON":         {data: "<html>", mediaType: ociconv.OCIManifest, want: "parse image manifest"},
		"wrong type":       {data: `{"schemaVersion":2,"config":{},"layers":{}}`, want: "parse image manifest"},
		"too large":        {data: strings.Repeat(" ", ociconv.MaxManifest+1), want: "larger than"},
		"too many layers":  {data: manifest(ociconv.OCIManifest, config, strings.Repeat(layer+",", 1001)+layer), want: "more than the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ociconv.ParseManifest([]byte(tc.data), tc.mediaType)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if errors.Is(err, ociconv.ErrArtifact) != tc.artifact {
				t.Errorf("artifact: want %v for %v", tc.artifact, err)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	entry := func(platform string, n int) ociconv.Descriptor {
		d := ociconv.Descriptor{MediaType: ociconv.OCIManifest, Digest: fmt.Sprintf("sha256:%064d", n), Size: 1}
		if platform != "" {
			p, err := ociconv.ParsePlatform(platform)
			if err != nil {
				t.Fatal(err)
			}
			d.Platform = &p
		}
		return d
	}
	for _, tc := range []struct {
		want    string
		entries []string
		index   int    // -1: none
		text    string // in the error
	}{
		{"linux/amd64/v3", []string{"linux/arm64", "linux/amd64"}, 1, ""},
		{"linux/amd64/v3", []string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4"}, 2, ""},
		{"linux/amd64/v1", []string{"linux/amd64/v2", "linux/amd64", "linux/amd64/v3"}, 1, ""},
		{"linux/amd64", []string{"linux/amd64/v2"}, -1, "want linux/amd64, available: linux/amd64/v2"},
		{"linux/arm/v7", []string{"linux/arm/v5", "linux/arm/v6", "linux/arm/v8"}, 1, ""},
		{"linux/arm64/v8", []string{"linux/arm64/v8", "linux/arm64"}, 0, ""},
		{"linux/arm64", []string{"linux/arm64/v8"}, 0, ""},
		{"linux/amd64", []string{"windows/amd64", "unknown/unknown"}, -1, "available: windows/amd64"},
		{"linux/amd64", []string{""}, 0, ""},
		{"linux/amd64", []string{"", ""}, -1, "names no platform"},
		{"linux/amd64", []string{"linux/amd64/strange", "linux/amd64"}, 1, ""},
		{"linux/amd64", nil, -1, "names no platform"},
	} {
		t.Run(tc.want+" "+strings.Join(tc.entries, " "), func(t *testing.T) {
			var x ociconv.Index
			for i, e := range tc.entries {
				x.Manifests = append(x.Manifests, entry(e, i))
			}
			want, err := ociconv.ParsePlatform(tc.want)
			if err != nil {
				t.Fatal(err)
			}
			d, err := x.Choose(want)
			if tc.index < 0 {
				if !errors.Is(err, ociconv.ErrNoPlatform) || !strings.Contains(err.Error(), tc.text) {
					t.Fatalf("got %v, %v", d, err)
				}
				return
			}
			if err != nil || d.Digest != x.Manifests[tc.index].Digest {
				t.Fatalf("got %v, %v", d, err)
			}
		})
	}
}

// An attestation is no image, even if it stands first or claims the platform.
func TestChooseSkipsArtifacts(t *testing.T) {
	index, err := ociconv.ParseIndex([]byte(fmt.Sprintf(`{"manifests":[
		{"mediaType":%[1]q,"digest":%[2]q,"size":1,"artifactType":"application/x","platform":{"os":"linux","architecture":"amd64"}},
		{"mediaType":"application/x","digest":%[2]q,"size":1,"platform":{"os":"linux","architecture":"amd64"}},
		{"mediaType":%[1]q,"digest":%[3]q,"size":1,"platform":{"os":"linux","architecture":"amd64"}}]}`,
		ociconv.OCIManifest, digestA, digestB)))
	if err != nil {
		t.Fatal(err)
	}
	d, err := index.Choose(ociconv.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil || d.Digest != digestB {
		t.Errorf("got %v, %v", d, err)
	}
}

func TestHostPlatform(t *testing.T) {
	p := ociconv.HostPlatform()
	index := ociconv.Index{Manifests: []ociconv.Descriptor{
		{MediaType: ociconv.OCIManifest, Digest: digestA, Platform: &ociconv.Platform{OS: p.OS, Architecture: p.Architecture}},
	}}
	if d, err := index.Choose(ociconv.Platform{}); err != nil || d.Digest != digestA {
		t.Errorf("%s: got %v, %v", p, d, err)
	}
}

func TestSynthesize(t *testing.T) {
	config, err := ociconv.NewConfig([]byte(`{"id":"x","parent":"y","author":"me","os":"linux","architecture":"amd64","config":{"Cmd":["a"]}}`), []string{digestA})
	if err != nil {
		t.Fatal(err)
	}
	c, err := ociconv.ParseConfig(config)
	if err != nil || c.App == nil || c.App.Cmd[0] != "a" || c.Author != "me" || c.DiffIDs[0] != digestA {
		t.Fatalf("got %+v, %v", c, err)
	}
	data, err := ociconv.NewManifest(config, []ociconv.Descriptor{{MediaType: ociconv.DockerLayer, Digest: digestB, Size: 7}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := ociconv.ParseManifest(data, "")
	if err != nil || m.LayerBlobs[0].Digest != digestB || m.Config.MediaType != dockerConfig {
		t.Fatalf("got %+v, %v", m, err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(manifest(ociconv.OCIManifest, blob(ociConfig, digestA, 3), blob(ociLayer, digestB, 4))))
	f.Add([]byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + digestA + `","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := ociconv.ParseManifest(data, ""); err == nil {
			for _, d := range append(m.LayerBlobs, m.Config) {
				if ociconv.CheckDigest(d.Digest) != nil || d.Size < 0 {
					t.Fatalf("unchecked descriptor %+v", d)
				}
			}
		}
		x, err := ociconv.ParseIndex(data)
		if err != nil {
			return
		}
		d, err := x.Choose(ociconv.Platform{OS: "linux", Architecture: "amd64"})
		if err == nil && (ociconv.CheckDigest(d.Digest) != nil || d.Size < 0) {
			t.Fatalf("unchecked descriptor %+v", d)
		}
		if _, err := json.Marshal(x); err != nil {
			t.Fatal(err)
		}
	})
}
