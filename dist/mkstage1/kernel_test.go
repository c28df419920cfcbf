// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// block packs a short text in the LZ4 block format by hand: five letters, a
// match that overlaps itself, one that is longer than a token says, a tail.
var block = []byte("\x50abcde\x05\x00" + "\x0f\x01\x00\xff\x05" + "\x30xyz")

var unpacked = "abcde" + "abcd" + strings.Repeat("d", 15+255+5+4) + "xyz"

func TestUnpackLZ4(t *testing.T) {
	one := append(binary.LittleEndian.AppendUint32(nil, uint32(len(block))), block...)
	all := append([]byte{0x02, 0x21, 0x4c, 0x18}, one...)
	all = append(all, one...) // a second block begins anew
	all = append(all, 0, 0, 0, 0)
	got, err := unpackKernel(all)
	if err != nil || string(got) != unpacked+unpacked {
		t.Errorf("%q, %v", got, err)
	}
	for name, b := range map[string]string{
		"literals that are missing":    "\x50abc",
		"a length that goes on":        "\xf0\xff",
		"no distance":                  "\x10a\x01",
		"distance 0":                   "\x10a\x00\x00",
		"a match before the beginning": "\x10a\x02\x00",
	} {
		if _, err := unpackBlock([]byte("of the block before"), []byte(b)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := unpackLZ4([]byte("\xff\x00\x00\x00abcde")); err == nil {
		t.Error("a block that is cut off: accepted")
	}
}

func FuzzUnpackLZ4(f *testing.F) {
	f.Add(block)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<10 {
			return // a few bytes unpack to much
		}
		before := []byte("before")
		out, err := unpackBlock(bytes.Clone(before), b)
		if err == nil && !bytes.HasPrefix(out, before) {
			t.Errorf("%q", out)
		}
	})
}

func TestPayload(t *testing.T) {
	packed := "packed kernel"
	image := make([]byte, 3*512)
	copy(image[0x202:], "HdrS")
	image[0x1f1] = 1 // a boot sector and one more
	binary.LittleEndian.PutUint32(image[0x248:], 100)
	binary.LittleEndian.PutUint32(image[0x24c:], uint32(len(packed)))
	copy(image[2*512+100:], packed)
	if got, err := payload(image); err != nil || string(got) != packed {
		t.Errorf("%q, %v", got, err)
	}
	binary.LittleEndian.PutUint32(image[0x248:], 0xfffffff0)
	if _, err := payload(image); err == nil {
		t.Error("a payload outside is accepted")
	}
	if _, err := payload(image[:0x210]); err == nil {
		t.Error("half a header is accepted")
	}
	if _, err := payload(make([]byte, 4096)); err == nil {
		t.Error("no bzImage is accepted")
	}
}

// TestUnpackKernel: the other formats that distributions use.
func TestUnpackKernel(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := append(z.EncodeAll([]byte("kernel"), nil), 6, 0, 0, 0)
	if got, err := unpackKernel(packed); err != nil || string(got) != "kernel" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := unpackKernel([]byte("\xfd7zXZ")); err == nil || !strings.Contains(err.Error(), "unknown compression") {
		t.Errorf("%v", err)
	}
}

func TestCPIO(t *testing.T) {
	c := &cpio{}
	c.add("dir", 0o40755, nil)
	c.add("init", 0o100755, []byte("#!x"))
	zeros := func(n int) string { return strings.Repeat("00000000", n) }
	want := "070701" + "00000001" + "000041ed" + zeros(2) + "00000001" + zeros(5) + "00000000" + "00000004" + zeros(1) + "dir\x00\x00\x00" +
		"070701" + "00000002" + "000081ed" + zeros(2) + "00000001" + zeros(1) + "00000003" + zeros(4) + "00000005" + zeros(1) + "init\x00\x00" + "#!x\x00"
	got := string(c.end())
	if !strings.HasPrefix(got, want) || len(got)%4 != 0 || !strings.Contains(got, "TRAILER!!!\x00") {
		t.Errorf("%q\nwant %q", got, want)
	}
}
