// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// vmlinux is the kernel without the program that unpacks it: that would cost
// half a second of a start in software.
func (k *kernelPackage) vmlinux() ([]byte, error) {
	packed, err := payload(k.image)
	if err != nil {
		return nil, err
	}
	image, err := unpackKernel(packed)
	if err != nil {
		return nil, fmt.Errorf("unpack the kernel: %w", err)
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("unpack the kernel: %w", err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_NOTE { // has the entry point of PVH
			return image, nil
		}
	}
	return nil, errors.New("the kernel cannot be started directly: it has no PVH note")
}

// payload finds the packed kernel in a bzImage (Linux, Documentation/arch/x86/
// boot.rst: fields setup_sects, payload_offset and payload_length).
func payload(image []byte) ([]byte, error) {
	const setupSects, magic, offset, length, header, sector = 0x1f1, 0x202, 0x248, 0x24c, 0x250, 512
	if len(image) < header || string(image[magic:magic+4]) != "HdrS" {
		return nil, errors.New("the kernel is no bzImage")
	}
	setup := int(image[setupSects])
	if setup == 0 {
		setup = 4
	}
	start := uint64(setup+1)*sector + uint64(binary.LittleEndian.Uint32(image[offset:]))
	end := start + uint64(binary.LittleEndian.Uint32(image[length:]))
	if start >= end || end > uint64(len(image)) {
		return nil, errors.New("the kernel is cut off")
	}
	return image[start:end], nil
}

// maxKernel bounds what a kernel unpacks to.
const maxKernel = 512 << 20

func unpackKernel(b []byte) ([]byte, error) {
	const sizeField = 4 // behind the packed kernel, for all formats but gzip, which ends with it
	var r io.Reader
	switch {
	case bytes.HasPrefix(b, []byte{0x02, 0x21, 0x4c, 0x18}):
		return unpackLZ4(b[4:])
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		z.Multistream(false)
		r = z
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(bytes.NewReader(b[:len(b)-sizeField]))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	default:
		return nil, fmt.Errorf("unknown compression %x", b[:min(4, len(b))])
	}
	out, err := io.ReadAll(io.LimitReader(r, maxKernel+1))
	if err == nil && len(out) > maxKernel {
		err = errors.New("it is too large")
	}
	return out, err
}

// unpackLZ4 unpacks the legacy frame format without its magic number: blocks,
// each with its packed size before it (LZ4 frame format, "Legacy frame").
func unpackLZ4(b []byte) (out []byte, err error) {
	const maxBlock = 8 << 20
	for len(b) > 4 { // the last four are the size of all
		n := binary.LittleEndian.Uint32(b)
		if n > maxBlock+maxBlock/255+16 || uint64(n) > uint64(len(b)-4) {
			return nil, errors.New("a block is cut off")
		}
		if out, err = unpackBlock(out, b[4:4+n]); err != nil {
			return nil, err
		}
		b = b[4+n:]
	}
	return out, nil
}

// unpackBlock appends an unpacked block, whose matches begin no earlier than it
// does (LZ4 block format).
func unpackBlock(out, b []byte) ([]byte, error) {
	errBlock := errors.New("a block is damaged")
	first := len(out)
	length := func(n int) (int, bool) { // 15 goes on in the following bytes
		if n != 15 {
			return n, true
		}
		for len(b) > 0 {
			c := b[0]
			b = b[1:]
			if n += int(c); n > maxKernel {
				return 0, false
			}
			if c != 255 {
				return n, true
			}
		}
		return 0, false
	}
	for len(b) > 0 {
		token := b[0]
		b = b[1:]
		n, ok := length(int(token >> 4))
		if !ok || n > len(b) || len(out)+n > maxKernel {
			return nil, errBlock
		}
		out, b = append(out, b[:n]...), b[n:]
		if len(b) == 0 {
			return out, nil // the last sequence has no match
		}
		if len(b) < 2 {
			return nil, errBlock
		}
		back := int(binary.LittleEndian.Uint16(b))
		b = b[2:]
		n, ok = length(int(token & 15))
		const minMatch = 4
		n += minMatch
		if !ok || back == 0 || back > len(out)-first || len(out)+n > maxKernel {
			return nil, errBlock
		}
		for range n { // it may overlap with itself
			out = append(out, out[len(out)-back])
		}
	}
	return out, nil
}
