// SPDX-License-Identifier: Apache-2.0

// Command mkstage1 packs the stage1-fly program into a stage1 image, without
// anything of the building machine in it: the same program gives the same
// bytes. Beside FILE.aci it writes FILE.id with the image ID.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

const imageName = "coreos.com/rkt/stage1-fly"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkstage1:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	fs := flag.NewFlagSet("mkstage1", flag.ContinueOnError)
	version := fs.String("version", "", "version label of the image")
	arch := fs.String("arch", "", "architecture in Go's words; empty: this machine's")
	program := fs.String("program", "", "the stage1-fly binary")
	out := fs.String("out", "", "image file to write")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *arch == "" {
		*arch = runtime.GOARCH
	}
	manifest, err := manifest(*version, *arch)
	if err != nil {
		return err
	}
	body, err := os.ReadFile(*program)
	if err != nil {
		return err
	}
	archive, err := pack(manifest, body)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(archive); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	sum := sha512.Sum512(archive)
	id := "sha512-" + hex.EncodeToString(sum[:])[:64]
	if err := os.MkdirAll(filepath.Dir(*out), 0o755); err != nil {
		return err
	}
	if err := atomicfile.WriteNoSync(*out, packed.Bytes(), 0o644); err != nil {
		return err
	}
	return atomicfile.WriteNoSync(strings.TrimSuffix(*out, ".aci")+".id", []byte(id+"\n"), 0o644)
}

// links are the entrypoints of the image: names of one multi-call program.
func links() map[string]string {
	return map[string]string{
		entrypoint.AnnotationRun:   "/run",
		entrypoint.AnnotationEnter: "/enter",
		entrypoint.AnnotationGC:    "/gc",
		entrypoint.AnnotationStop:  "/stop",
	}
}

func manifest(version, goarch string) ([]byte, error) {
	arch, ok := map[string]string{"amd64": "amd64", "arm64": "aarch64"}[goarch]
	if !ok {
		return nil, fmt.Errorf("no stage1-fly for %s", goarch)
	}
	m := appc.ImageManifest{
		ACKind: "ImageManifest", ACVersion: appc.ACVersion, Name: imageName,
		Labels: appc.Labels{{Name: "arch", Value: arch}, {Name: "os", Value: "linux"}, {Name: "version", Value: version}},
	}
	for a, path := range links() {
		m.Annotations = append(m.Annotations, appc.Annotation{Name: appc.Identifier(a), Value: path})
	}
	m.Annotations = append(m.Annotations, appc.Annotation{Name: entrypoint.AnnotationInterfaceVersion, Value: strconv.Itoa(entrypoint.CurrentVersion)})
	m.Annotations = append(m.Annotations, appc.Annotation{Name: entrypoint.AnnotationGCNeeds, Value: poddir.Cgroups + "," + poddir.Subcgroup})
	slices.SortFunc(m.Annotations, func(a, b appc.Annotation) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return m.Marshal()
}

// pack makes the archive: manifest, the program once, a link for each other
// entrypoint, and the reserved directories (spec stage1.md 2.2). Everything is
// root's and of the epoch, in a fixed order.
func pack(manifest, program []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, body []byte) error {
		h.Size, h.Format = int64(len(body)), tar.FormatUSTAR
		if err := w.WriteHeader(&h); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		_, err := w.Write(body)
		return err
	}
	if err := add(tar.Header{Typeflag: tar.TypeReg, Name: "manifest", Mode: 0o644}, manifest); err != nil {
		return nil, err
	}
	for _, dir := range directories() {
		if err := add(tar.Header{Typeflag: tar.TypeDir, Name: "rootfs/" + dir, Mode: 0o755}, nil); err != nil {
			return nil, err
		}
	}
	names := slices.Sorted(maps.Values(links()))
	first := "rootfs" + names[0]
	if err := add(tar.Header{Typeflag: tar.TypeReg, Name: first, Mode: 0o755}, program); err != nil {
		return nil, err
	}
	for _, name := range names[1:] {
		if err := add(tar.Header{Typeflag: tar.TypeLink, Name: "rootfs" + name, Linkname: first, Mode: 0o755}, nil); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// directories are the reserved directories with their parents, parents first.
func directories() []string {
	set := map[string]bool{"": true, "etc/": true}
	for _, dir := range []string{poddir.Stage2, poddir.StatusDir, poddir.EnvDir} {
		for ; dir != "."; dir = filepath.Dir(dir) {
			set[dir+"/"] = true
		}
	}
	var all []string
	for dir := range set {
		all = append(all, dir)
	}
	slices.Sort(all)
	return all
}
