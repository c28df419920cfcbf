// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"archive/tar"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Epoch is the time of everything in made images, so that they are the same
// every time.
var Epoch = time.Unix(1_500_000_000, 123_456_789)

// Entry is one member of an archive. Zero fields get sensible values; a name
// that ends in a slash is a directory.
type Entry struct {
	tar.Header
	Body string
}

// File is a regular file.
func File(name string, mode int64, body string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, Body: body}
}

// Dir is a directory.
func Dir(name string, mode int64) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimSuffix(name, "/") + "/", Mode: mode}}
}

// Symlink is a symbolic link.
func Symlink(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

// Hardlink is a second name.
func Hardlink(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}}
}

// Tar writes entries as a tar stream.
func Tar(t T, w io.Writer, entries []Entry) {
	t.Helper()
	tw := tar.NewWriter(w)
	for _, e := range entries {
		h := e.Header
		if h.ModTime.IsZero() {
			h.ModTime = Epoch
		}
		if h.Format == tar.FormatUnknown {
			h.Format = tar.FormatPAX
		}
		if h.Typeflag == tar.TypeReg && h.Size == 0 {
			h.Size = int64(len(e.Body))
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatalf("tar %s: %v", h.Name, err)
		}
		if _, err := io.WriteString(tw, e.Body); err != nil {
			t.Fatalf("tar %s: %v", h.Name, err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatalf("tar: %v", err)
	}
}

// Manifest is an image manifest as generic JSON. App fields win over the
// defaults exec=[/bin/sh], user and group 0.
func Manifest(name, version string, app map[string]any) map[string]any {
	m := map[string]any{
		"acKind": "ImageManifest", "acVersion": "0.8.11", "name": name,
		"labels": []map[string]string{{"name": "version", "value": version}, {"name": "arch", "value": HostArch()}, {"name": "os", "value": "linux"}},
	}
	if app != nil {
		full := map[string]any{"exec": []string{"/bin/sh"}, "user": "0", "group": "0"}
		maps.Copy(full, app)
		m["app"] = full
	}
	return m
}

// HostArch is this machine's architecture in the words of appc.
func HostArch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64"
	}
	return runtime.GOARCH
}

// ACI writes an image file (gzip) of the manifest and the entries, whose names
// are relative to the root file system, and returns its path.
func ACI(t T, manifest map[string]any, entries []Entry) string {
	t.Helper()
	raw, err := json.Marshal(manifest)
	if err != nil {
		t.Fatalf("%v", err)
	}
	all := []Entry{File("manifest", 0o644, string(raw)), Dir("rootfs", 0o755)}
	for _, e := range entries {
		e.Name = "rootfs/" + strings.TrimPrefix(e.Name, "/")
		if e.Typeflag == tar.TypeLink {
			e.Linkname = "rootfs/" + strings.TrimPrefix(e.Linkname, "/")
		}
		all = append(all, e)
	}
	return RawACI(t, all)
}

// RawACI writes the entries as they are into an image file.
func RawACI(t T, entries []Entry) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "image-*.aci")
	if err != nil {
		t.Fatalf("%v", err)
	}
	z := gzip.NewWriter(f)
	Tar(t, z, entries)
	if err := z.Close(); err != nil {
		t.Fatalf("%v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatalf("%v", err)
	}
	return f.Name()
}

// BusyboxEntries are a root file system of Debian's busybox-static.
func BusyboxEntries(t T) []Entry {
	t.Helper()
	path := BusyboxPath(t)
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v", err)
	}
	es := []Entry{
		Dir("bin", 0o755), Dir("etc", 0o755), Dir("proc", 0o755), Dir("sys", 0o755), Dir("dev", 0o755),
		Dir("tmp", 0o1777), Dir("root", 0o700), Dir("home", 0o755), Dir("var", 0o755),
		File("bin/busybox", 0o755, string(body)),
		File("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home:/bin/sh\n"),
		File("etc/group", 0o644, "root:x:0:\nalice:x:1000:\nstaff:x:50:alice\n"),
	}
	out, err := exec.Command(path, "--list").Output()
	if err != nil {
		t.Fatalf("%s --list: %v", path, err)
	}
	for applet := range strings.FieldsSeq(string(out)) {
		if applet != "busybox" {
			es = append(es, Symlink("bin/"+applet, "busybox"))
		}
	}
	return es
}

// BusyboxPath is the static busybox of the host.
func BusyboxPath(t T) string {
	t.Helper()
	for _, p := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if isStatic(p) {
			return p
		}
	}
	t.Fatalf("no static busybox: install busybox-static with \"make deps\"")
	return ""
}

// isStatic tells whether a program needs no dynamic linker.
func isStatic(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// Busybox makes an image of busybox. Name is example.com/busybox, version 1.
func Busybox(t T, app map[string]any) string {
	t.Helper()
	if app == nil {
		app = map[string]any{}
	}
	return ACI(t, Manifest("example.com/busybox", "1", app), BusyboxEntries(t))
}

// TinyEntries are the smallest root file system that runs: one static program
// that prints nothing and exits 0.
func TinyEntries(t T) []Entry {
	t.Helper()
	body, err := os.ReadFile(TrueProgram(t))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return []Entry{
		Dir("bin", 0o755), Dir("etc", 0o755), Dir("dev", 0o755), Dir("proc", 0o755), Dir("sys", 0o755), Dir("tmp", 0o1777),
		File("bin/true", 0o755, string(body)),
	}
}

// TrueProgram builds a static program that only exits.
func TrueProgram(t T) string {
	t.Helper()
	if made := os.Getenv(programsEnv); made != "" {
		return filepath.Join(made, "true")
	}
	dir := t.TempDir()
	src := filepath.Join(dir, "main.go")
	if err := os.WriteFile(src, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatalf("%v", err)
	}
	bin := filepath.Join(dir, "true")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}
