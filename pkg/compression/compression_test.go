// SPDX-License-Identifier: Apache-2.0

package compression

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

// text is content that compresses and is longer than a buffer.
func text() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < 300_000 {
		b.WriteString(strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(20)))
	}
	return b.Bytes()
}

func mustCompress(t testing.TB, kind Type, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	if kind == XZ {
		w, err = xz.NewWriter(&b)
	} else {
		w, err = NewWriter(&b, kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readAll(data []byte) ([]byte, Type, error) {
	r, kind, err := NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, kind, err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	return content, kind, err
}

// bzip2Hello is "hello\n" by bzip2, which nothing here can write.
const bzip2Hello = "425a6839314159265359c1c080e2000001410000100244a00030cd00c3462997177245385090c1c080e2"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	for _, kind := range []Type{None, Gzip, XZ, Zstd} {
		for name, data := range map[string][]byte{"empty": {}, "short": []byte("hello"), "long": text()} {
			got, found, err := readAll(mustCompress(t, kind, data))
			if err != nil || found != kind || !bytes.Equal(got, data) {
				t.Errorf("%s, %s: %s, %v, %d bytes", kind, name, found, err, len(got))
			}
		}
	}
}

func TestSeveralStreams(t *testing.T) {
	long := text()
	for _, kind := range []Type{Gzip, XZ, Zstd} {
		data := append(mustCompress(t, kind, []byte("first")), mustCompress(t, kind, long)...)
		got, _, err := readAll(data)
		if err != nil || !bytes.Equal(got, append([]byte("first"), long...)) {
			t.Errorf("%s: %v, %d bytes", kind, err, len(got))
		}
	}
}

func TestZstdSkippableFrames(t *testing.T) {
	skippable := append([]byte{0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "toc"...)
	frame := mustCompress(t, Zstd, []byte("hello"))
	for name, data := range map[string][]byte{
		"behind": append(bytes.Clone(frame), skippable...),
		"before": append(bytes.Clone(skippable), frame...),
	} {
		got, kind, err := readAll(data)
		if err != nil || kind != Zstd || string(got) != "hello" {
			t.Errorf("%s: %q, %s, %v", name, got, kind, err)
		}
	}
}

func TestZstdWindow(t *testing.T) {
	// A frame without content size and with a window of 256 MiB.
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, 0x01, 0x00, 0x00}
	if _, _, err := readAll(frame); err == nil {
		t.Error("a window of 256 MiB was accepted")
	}
	frame[5] = 17 << 3
	if _, _, err := readAll(frame); err != nil {
		t.Errorf("a window of 128 MiB: %v", err)
	}
}

func TestBzip2(t *testing.T) {
	got, kind, err := readAll(unhex(t, bzip2Hello))
	if err != nil || kind != Bzip2 || string(got) != "hello\n" {
		t.Errorf("%q, %s, %v", got, kind, err)
	}
}

// Whatever is cut off, the reader says so.
func TestTruncated(t *testing.T) {
	for _, kind := range []Type{Gzip, XZ, Zstd} {
		data := mustCompress(t, kind, []byte("hello, hello"))
		for n := 7; n < len(data); n++ {
			if _, _, err := readAll(data[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes were enough", kind, n, len(data))
			}
		}
	}
}

func TestCorrupt(t *testing.T) {
	for _, kind := range []Type{Gzip, XZ, Zstd} {
		good := mustCompress(t, kind, text())
		for _, n := range []int{len(good) / 2, len(good) - 20, len(good) - 4} {
			bad := bytes.Clone(good)
			bad[n] ^= 0x10
			if _, _, err := readAll(bad); err == nil {
				t.Errorf("%s: changed byte %d of %d was not noticed", kind, n, len(good))
			}
		}
	}
}

func TestXZ(t *testing.T) {
	hello := mustCompress(t, XZ, []byte("hello"))
	padded := append(append(bytes.Clone(hello), make([]byte, 8)...), hello...)
	if got, _, err := readAll(padded); err != nil || string(got) != "hellohello" {
		t.Errorf("padding: %q, %v", got, err)
	}
	if _, _, err := readAll(append(bytes.Clone(hello), 0, 0)); err == nil {
		t.Error("padding that is no multiple of four was accepted")
	}
	if _, _, err := readAll(append(bytes.Clone(hello), "garbage!"...)); err == nil {
		t.Error("garbage behind the stream was accepted")
	}
	for _, check := range []byte{xz.None, xz.CRC32, xz.CRC64, xz.SHA256} {
		var b bytes.Buffer
		w, err := xz.WriterConfig{CheckSum: check, NoCheckSum: check == xz.None, BlockSize: 100_000, DictCap: 1 << 20}.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, _, err := readAll(b.Bytes()); err != nil || !bytes.Equal(got, text()) {
			t.Errorf("check %d: %v", check, err)
		}
	}
}

func TestXZDictionary(t *testing.T) {
	for code, want := range map[byte]int{0: 4096, 1: 6144, 18: 2 << 20, 30: 128 << 20} {
		b := xzBlock{size: -1}
		if got, err := b.dictionary(code); err != nil || got != want {
			t.Errorf("code %d: %d, %v", code, got, err)
		}
	}
	for _, code := range []byte{31, 40, 41, 255} {
		b := xzBlock{size: 1}
		if _, err := b.dictionary(code); err == nil {
			t.Errorf("code %d was accepted", code)
		}
	}
	b := xzBlock{size: 10_000}
	if got, err := b.dictionary(30); err != nil || got != 10_000 {
		t.Errorf("a small block takes %d bytes, %v", got, err)
	}
}

func TestXZManySmallBlocks(t *testing.T) {
	var b bytes.Buffer
	w, err := xz.WriterConfig{DictCap: 64 << 20}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readAll(bytes.Repeat(b.Bytes(), 20)); err == nil || !strings.Contains(err.Error(), "too much memory") {
		t.Errorf("20 bytes for 1,280 MiB: %v", err)
	}
}

// A reader takes little memory, however much comes out of it.
func TestMemory(t *testing.T) {
	for _, kind := range []Type{Gzip, Zstd} {
		data := mustCompress(t, kind, make([]byte, 64<<20))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		r, _, err := NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 32<<10)
		if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buffer); err != nil || n != 64<<20 {
			t.Fatal(n, err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 12<<20 {
			t.Errorf("%s: %d bytes allocated", kind, used)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWriterIsReproducible(t *testing.T) {
	for _, kind := range []Type{Gzip, Zstd} {
		if !bytes.Equal(mustCompress(t, kind, text()), mustCompress(t, kind, text())) {
			t.Errorf("%s differs", kind)
		}
	}
	if head := mustCompress(t, Gzip, nil)[:10]; !bytes.Equal(head, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}) {
		t.Errorf("gzip header %x has a name or a time", head)
	}
	if _, err := NewWriter(io.Discard, XZ); err == nil {
		t.Error("xz can be written")
	}
}

func TestDetect(t *testing.T) {
	for want, heads := range map[Type][]string{
		None:  {"", "\x1f", "PK\x03\x04", "BZ", "\xfd7zXZ", "\x28\xb5\x2f"},
		Gzip:  {"\x1f\x8b"},
		Bzip2: {"BZh9"},
		XZ:    {"\xfd7zXZ\x00"},
		Zstd:  {"\x28\xb5\x2f\xfd", "\x50\x2a\x4d\x18"},
	} {
		for _, head := range heads {
			if got := Detect([]byte(head)); got != want {
				t.Errorf("%q: %s", head, got)
			}
		}
	}
}

func TestIsTar(t *testing.T) {
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "rootfs", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	head := b.Bytes()
	if !IsTar(head) || IsTar(head[:511]) {
		t.Error("ustar")
	}
	v7 := bytes.Clone(head)
	copy(v7[257:265], make([]byte, 8))
	if IsTar(v7) {
		t.Error("the checksum is wrong")
	}
	sum := 0
	for i, c := range v7 {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int(c)
	}
	copy(v7[148:], []byte{'0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' '})
	if !IsTar(v7) {
		t.Error("v7")
	}
	if !IsTar(make([]byte, 512)) {
		t.Error("an archive without entries")
	}
	if IsTar(bytes.Repeat([]byte("text "), 200)) {
		t.Error("text")
	}
}

// No input makes a reader panic or give more than it was asked for, and our
// xz reader accepts what the library's own does.
func FuzzReader(f *testing.F) {
	for _, kind := range []Type{None, Gzip, XZ, Zstd} {
		f.Add(mustCompress(f, kind, []byte("hello, hello, hello")))
	}
	f.Add(unhex(f, bzip2Hello))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, kind, err := NewReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		defer r.Close()
		const limit = 1 << 20
		got, err := io.ReadAll(io.LimitReader(r, limit))
		switch {
		case kind == None && (err != nil || !bytes.Equal(got, data[:min(len(data), limit)])):
			t.Fatalf("uncompressed data changed: %v", err)
		case kind == XZ && err == nil && len(got) < limit:
			x, err := xz.NewReader(bytes.NewReader(data))
			if err != nil {
				t.Fatalf("accepted what the library refuses: %v", err)
			}
			want, err := io.ReadAll(x)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("accepted what the library refuses or reads otherwise: %v", err)
			}
		}
	})
}
