// SPDX-License-Identifier: Apache-2.0

package compression

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// The container of xz is read here because the library's own reader allocates
// whatever dictionary a block asks for, up to 4 GiB, and keeps one
// record for each block. Section numbers are those of "The .xz File Format" 1.2.0.

const (
	xzMagic       = "\xfd7zXZ\x00"
	xzFooterMagic = "YZ"
	// minDictionary is the smallest dictionary of LZMA2 (5.3.1).
	minDictionary = 1 << 12
	lzma2Filter   = 0x21
	// Each block has a dictionary of its own, so that many tiny blocks could
	// keep the machine busy with clearing memory. Blocks of 64 KiB with the
	// default dictionary of 8 MiB are a ratio of 128.
	freeAllocation  = 1 << 30
	allocationRatio = 256
)

// errXZ is in the chain of all faults of the container.
var errXZ = errors.New("invalid xz stream")

func xzError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errXZ}, args...)...)
}

// xzReader reads the concatenated streams of a file.
type xzReader struct {
	r     *countedReader
	flags [2]byte
	// block is the block being read, nil between blocks and at the end.
	block *xzBlock
	// records stands for the list of blocks; so does the index at the end
	// of a stream (4.3), and comparing sums needs no memory.
	records hash.Hash
	blocks  uint64
	// produced and allocated are what all blocks gave and took so far.
	produced, allocated int64
	err                 error
}

func newXZReader(r *bufio.Reader) (*xzReader, error) {
	x := &xzReader{r: &countedReader{r: r}}
	return x, unexpectedEOF(x.streamHeader())
}

// countedReader counts and gives single bytes, so that nothing between it and
// the LZMA2 decoder reads ahead.
type countedReader struct {
	r *bufio.Reader
	n int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countedReader) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Read returns the content of all blocks of all streams.
func (x *xzReader) Read(p []byte) (int, error) {
	for x.err == nil {
		if x.block == nil {
			x.err = x.next()
			continue
		}
		n, err := x.block.Read(p)
		x.produced += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			x.err = unexpectedEOF(x.endBlock())
		case err != nil:
			x.err = fmt.Errorf("xz: %w", unexpectedEOF(err))
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, x.err
}

// next starts the next block, or the next stream if there is no further block,
// and returns io.EOF after the last stream.
func (x *xzReader) next() error {
	size, err := x.r.ReadByte()
	if err != nil {
		return unexpectedEOF(err)
	}
	if size != 0 {
		x.block, err = x.blockHeader(size)
		return unexpectedEOF(err)
	}
	if err := x.endStream(); err != nil {
		return unexpectedEOF(err)
	}
	return x.nextStream()
}

// nextStream skips the padding between streams (2.2).
func (x *xzReader) nextStream() error {
	for {
		word, err := x.r.r.Peek(4)
		switch {
		case len(word) == 0 && errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return unexpectedEOF(err)
		case !bytes.Equal(word, make([]byte, 4)):
			return unexpectedEOF(x.streamHeader())
		}
		if _, err := x.r.r.Discard(4); err != nil {
			return err
		}
	}
}

// streamHeader reads 2.1.1.
func (x *xzReader) streamHeader() error {
	var header [12]byte
	if _, err := io.ReadFull(x.r, header[:]); err != nil {
		return err
	}
	if string(header[:6]) != xzMagic {
		return xzError("bad magic of a stream")
	}
	if crc32.ChecksumIEEE(header[6:8]) != binary.LittleEndian.Uint32(header[8:]) {
		return xzError("bad checksum of a stream header")
	}
	x.flags = [2]byte(header[6:8])
	if _, err := newXZCheck(x.flags); err != nil {
		return err
	}
	x.records, x.blocks = sha256.New(), 0
	return nil
}

// newXZCheck returns the sum that follows each block (2.1.1.2).
func newXZCheck(flags [2]byte) (hash.Hash, error) {
	if flags[0] != 0 {
		return nil, xzError("reserved stream flags")
	}
	switch flags[1] {
	case 0:
		return nil, nil
	case 1:
		return crc32.NewIEEE(), nil
	case 4:
		return crc64.New(crc64.MakeTable(crc64.ECMA)), nil
	case 10:
		return sha256.New(), nil
	}
	return nil, xzError("unknown check %d", flags[1])
}

// xzBlock is a block being read.
type xzBlock struct {
	content io.Reader
	check   hash.Hash
	// packed and size are what the header claims, -1 if it claims nothing.
	packed, size int64
	header       int64
	start        int64
	read         int64
}

func (b *xzBlock) Read(p []byte) (int, error) {
	n, err := b.content.Read(p)
	b.read += int64(n)
	if b.check != nil {
		_, _ = b.check.Write(p[:n]) // hash.Hash never returns an error
	}
	if b.size >= 0 && b.read > b.size {
		return n, xzError("block is larger than its header says")
	}
	return n, err
}

// blockHeader reads 3.1 after its first byte.
func (x *xzReader) blockHeader(size byte) (*xzBlock, error) {
	header := make([]byte, (int(size)+1)*4)
	header[0] = size
	if _, err := io.ReadFull(x.r, header[1:]); err != nil {
		return nil, err
	}
	fields, sum := header[:len(header)-4], header[len(header)-4:]
	if crc32.ChecksumIEEE(fields) != binary.LittleEndian.Uint32(sum) {
		return nil, xzError("bad checksum of a block header")
	}
	b := &xzBlock{packed: -1, size: -1, header: int64(len(header)), start: x.r.n}
	dictionary, err := b.parseHeader(fields[1:])
	if err != nil {
		return nil, err
	}
	if b.check, err = newXZCheck(x.flags); err != nil {
		return nil, err
	}
	if x.allocated += int64(dictionary); x.allocated-freeAllocation > allocationRatio*x.produced {
		return nil, xzError("blocks take too much memory for what they contain")
	}
	b.content, err = lzma.Reader2Config{DictCap: dictionary}.NewReader2(x.r)
	return b, err
}

func (b *xzBlock) parseHeader(fields []byte) (dictionary int, err error) {
	r := bytes.NewReader(fields)
	flags, err := r.ReadByte()
	if err != nil {
		return 0, err
	}
	if flags&^0xc0 != 0 {
		return 0, xzError("filters other than LZMA2 are not supported")
	}
	for _, size := range []struct {
		present bool
		value   *int64
	}{{flags&0x40 != 0, &b.packed}, {flags&0x80 != 0, &b.size}} {
		if !size.present {
			continue
		}
		n, err := binary.ReadUvarint(r)
		if err != nil || n > 1<<62 {
			return 0, xzError("bad size in a block header")
		}
		*size.value = int64(n)
	}
	var filter [3]byte
	if _, err := io.ReadFull(r, filter[:]); err != nil {
		return 0, xzError("short block header")
	}
	if filter[0] != lzma2Filter || filter[1] != 1 {
		return 0, xzError("filters other than LZMA2 are not supported")
	}
	for r.Len() > 0 {
		if c, _ := r.ReadByte(); c != 0 {
			return 0, xzError("bad padding of a block header")
		}
	}
	return b.dictionary(filter[2])
}

// dictionary decodes 5.3.1 and takes no more memory than the block can use.
func (b *xzBlock) dictionary(code byte) (int, error) {
	if code > 40 {
		return 0, xzError("bad dictionary size")
	}
	size := int64(2|code&1) << (code/2 + 11)
	if size > MaxWindow {
		return 0, fmt.Errorf("xz: dictionary of %d bytes is larger than %d", size, MaxWindow)
	}
	if b.size >= 0 {
		size = max(min(size, b.size), minDictionary)
	}
	return int(size), nil
}

// endBlock reads padding and check (3.3, 3.4).
func (x *xzReader) endBlock() error {
	b := x.block
	x.block = nil
	packed := x.r.n - b.start
	if b.packed >= 0 && b.packed != packed || b.size >= 0 && b.size != b.read {
		return xzError("block sizes differ from its header")
	}
	if err := x.padding(packed); err != nil {
		return err
	}
	unpadded := b.header + packed
	if b.check != nil {
		unpadded += int64(b.check.Size())
		if err := x.compareCheck(b.check); err != nil {
			return err
		}
	}
	x.blocks++
	return writeRecord(x.records, uint64(unpadded), uint64(b.read))
}

// compareCheck reads the sum after a block; CRCs are little endian, hash.Hash
// gives them big endian.
func (x *xzReader) compareCheck(check hash.Hash) error {
	want := make([]byte, check.Size())
	if _, err := io.ReadFull(x.r, want); err != nil {
		return err
	}
	got := check.Sum(nil)
	if len(got) < sha256.Size {
		for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
			got[i], got[j] = got[j], got[i]
		}
	}
	if !bytes.Equal(got, want) {
		return xzError("bad checksum of a block")
	}
	return nil
}

// padding reads zeros up to a multiple of four.
func (x *xzReader) padding(n int64) error {
	for ; n%4 != 0; n++ {
		c, err := x.r.ReadByte()
		if err != nil {
			return err
		}
		if c != 0 {
			return xzError("bad padding")
		}
	}
	return nil
}

func writeRecord(w io.Writer, unpadded, size uint64) error {
	_, err := w.Write(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, unpadded), size))
	return err
}

// endStream reads index and footer (4, 2.1.2) after the index indicator.
func (x *xzReader) endStream() error {
	size, err := x.index()
	if err != nil {
		return err
	}
	var footer [12]byte
	if _, err := io.ReadFull(x.r, footer[:]); err != nil {
		return err
	}
	switch {
	case string(footer[10:]) != xzFooterMagic,
		crc32.ChecksumIEEE(footer[4:10]) != binary.LittleEndian.Uint32(footer[:4]),
		[2]byte(footer[8:10]) != x.flags,
		(int64(binary.LittleEndian.Uint32(footer[4:8]))+1)*4 != size:
		return xzError("bad stream footer")
	}
	return nil
}

// index compares the index with the blocks that were read and returns its size.
func (x *xzReader) index() (int64, error) {
	start := x.r.n - 1
	sum := crc32.NewIEEE()
	_, _ = sum.Write([]byte{0})
	r := &teeByteReader{r: x.r, sum: sum}
	count, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, err
	}
	if count != x.blocks {
		return 0, xzError("index lists %d blocks of %d", count, x.blocks)
	}
	records := sha256.New()
	for range count {
		unpadded, err := binary.ReadUvarint(r)
		if err != nil {
			return 0, err
		}
		size, err := binary.ReadUvarint(r)
		if err != nil {
			return 0, err
		}
		if err := writeRecord(records, unpadded, size); err != nil {
			return 0, err
		}
	}
	if !bytes.Equal(records.Sum(nil), x.records.Sum(nil)) {
		return 0, xzError("index differs from the blocks")
	}
	for (x.r.n-start)%4 != 0 {
		if c, err := r.ReadByte(); err != nil || c != 0 {
			return 0, xzError("bad padding of the index")
		}
	}
	var want [4]byte
	if _, err := io.ReadFull(x.r, want[:]); err != nil {
		return 0, err
	}
	if sum.Sum32() != binary.LittleEndian.Uint32(want[:]) {
		return 0, xzError("bad checksum of the index")
	}
	return x.r.n - start, nil
}

// teeByteReader sums the bytes it gives.
type teeByteReader struct {
	r   io.ByteReader
	sum hash.Hash32
}

func (t *teeByteReader) ReadByte() (byte, error) {
	c, err := t.r.ReadByte()
	if err == nil {
		_, _ = t.sum.Write([]byte{c})
	}
	return c, err
}
