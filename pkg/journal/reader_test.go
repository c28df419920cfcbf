// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
)

// readEntry is an entry as reader finds it.
type readEntry struct {
	seqnum, realtime, monotonic uint64
	boot                        string
	fields                      []string // NAME=value, in the order of the items
}

// reader checks a complete journal file object by object: what it returns no
// error for is what the description of the format asks for.
type reader struct {
	m        []byte
	tail     uint64
	types    map[uint64]byte // by offset
	counts   [8]uint64
	fileID   [16]byte
	entryAt  []uint64 // offsets in order
	entries  []readEntry
	refersTo map[uint64][]uint64 // entries by the offset of their data objects
}

func readFile(path string) (*reader, error) {
	m, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &reader{m: m, types: map[uint64]byte{}, refersTo: map[uint64][]uint64{}}
	for _, step := range []func() error{r.header, r.objects, r.readEntries, r.index, r.data, r.fields} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return r, nil
}

func (r *reader) u64(at uint64) uint64  { return binary.LittleEndian.Uint64(r.m[at:]) }
func (r *reader) size(at uint64) uint64 { return r.u64(at + oSize) }

func (r *reader) header() error {
	copy(r.fileID[:], r.m[hFileID:])
	r.tail = r.u64(hTailObject)
	switch {
	case len(r.m) < headerSize || string(r.m[:8]) != signature:
		return fmt.Errorf("no journal")
	case r.u64(8)>>32 != incompatibleKeyedHash || uint32(r.u64(8)) != 0:
		return fmt.Errorf("flags %#x", r.u64(8))
	case r.u64(hHeaderSize) != headerSize:
		return fmt.Errorf("header size %d", r.u64(hHeaderSize))
	case r.u64(hArenaSize)+headerSize > uint64(len(r.m)):
		return fmt.Errorf("arena of %d in a file of %d", r.u64(hArenaSize), len(r.m))
	case r.u64(hFieldTable) != fieldTable || r.u64(hDataTable) != dataTable:
		return fmt.Errorf("hash tables at %#x and %#x", r.u64(hFieldTable), r.u64(hDataTable))
	}
	return nil
}

// objects walks through the file from object to object.
func (r *reader) objects() error {
	last, n := uint64(0), uint64(0)
	for at := uint64(headerSize); at <= r.tail; n++ {
		typ, size := r.m[at], r.size(at)
		if typ == 0 || typ > typeEntryArray || size < objectHeader || at+size > uint64(len(r.m)) {
			return fmt.Errorf("object at %#x: type %d, size %d", at, typ, size)
		}
		for _, b := range r.m[at+size : align8(at+size)] {
			if b != 0 {
				return fmt.Errorf("object at %#x: padding is not zero", at)
			}
		}
		r.types[at] = typ
		r.counts[typ]++
		last, at = at, align8(at+size)
	}
	if last != r.tail {
		return fmt.Errorf("last object at %#x, header says %#x", last, r.tail)
	}
	for off, want := range map[uint64]uint64{
		hObjects: n, hEntries: r.counts[typeEntry], hDatas: r.counts[typeData],
		hFields: r.counts[typeField], hEntryArrays: r.counts[typeEntryArray],
	} {
		if got := r.u64(off); got != want {
			return fmt.Errorf("counter at %d is %d, want %d", off, got, want)
		}
	}
	if r.counts[typeDataTable] != 1 || r.counts[typeFieldTable] != 1 {
		return fmt.Errorf("%v", r.counts)
	}
	return nil
}

func (r *reader) is(at uint64, typ byte) error {
	if r.types[at] != typ {
		return fmt.Errorf("%#x is %d and not %d", at, r.types[at], typ)
	}
	return nil
}

func (r *reader) readEntries() error {
	for at := uint64(headerSize); at <= r.tail; at = align8(at + r.size(at)) {
		if r.m[at] != typeEntry {
			continue
		}
		e := readEntry{
			seqnum: r.u64(at + eSeqnum), realtime: r.u64(at + eRealtime), monotonic: r.u64(at + eMonotonic),
			boot: hex.EncodeToString(r.m[at+eBootID : at+eBootID+16]),
		}
		xor, before := uint64(0), uint64(0)
		for item := at + eItems; item < at+r.size(at); item += entryItem {
			d := r.u64(item)
			if err := r.is(d, typeData); err != nil {
				return fmt.Errorf("entry at %#x: %w", at, err)
			}
			if d <= before {
				return fmt.Errorf("entry at %#x: items not in order", at)
			}
			before = d
			payload := r.m[d+dPayload : d+r.size(d)]
			if r.u64(item+8) != keyedHash(&r.fileID, payload) {
				return fmt.Errorf("entry at %#x: hash of item", at)
			}
			xor ^= plainHash(payload)
			e.fields = append(e.fields, string(payload))
			r.refersTo[d] = append(r.refersTo[d], at)
		}
		if xor != r.u64(at+eXorHash) {
			return fmt.Errorf("entry at %#x: xor hash", at)
		}
		if n := len(r.entries); n > 0 {
			if l := r.entries[n-1]; e.seqnum != l.seqnum+1 || e.monotonic < l.monotonic || e.realtime < l.realtime {
				return fmt.Errorf("entry at %#x: out of order", at)
			}
		}
		r.entryAt = append(r.entryAt, at)
		r.entries = append(r.entries, e)
	}
	if len(r.entries) == 0 {
		return nil
	}
	first, last := r.entries[0], r.entries[len(r.entries)-1]
	for off, want := range map[uint64]uint64{
		hHeadSeqnum: first.seqnum, hTailSeqnum: last.seqnum, hHeadRealtime: first.realtime, hTailRealtime: last.realtime,
		hTailMonotonic: last.monotonic, hTailEntry: r.entryAt[len(r.entryAt)-1],
	} {
		if got := r.u64(off); got != want {
			return fmt.Errorf("header at %d is %d, want %d", off, got, want)
		}
	}
	if !bytes.Equal(r.m[hTailBootID:hTailBootID+16], r.m[r.u64(hTailEntry)+eBootID:][:16]) {
		return fmt.Errorf("boot ID in header")
	}
	return nil
}

// chain reads a chain of entry arrays.
func (r *reader) chain(array uint64, n uint64) (entries []uint64, tail, used uint64, err error) {
	for array != 0 {
		if err := r.is(array, typeEntryArray); err != nil {
			return nil, 0, 0, err
		}
		tail, used = array, 0
		for item := array + aItems; item < array+r.size(array); item += arrayItem {
			if at := r.u64(item); at != 0 {
				entries = append(entries, at)
				used++
			}
		}
		array = r.u64(array + aNext)
	}
	if uint64(len(entries)) != n {
		return nil, 0, 0, fmt.Errorf("%d entries in chain, want %d", len(entries), n)
	}
	return entries, tail, used, nil
}

func (r *reader) index() error {
	entries, tail, used, err := r.chain(r.u64(hEntryArray), r.u64(hEntries))
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if fmt.Sprint(entries) != fmt.Sprint(r.entryAt) {
		return fmt.Errorf("index differs from the entries")
	}
	if got, want := r.u64(hTailArray), tail|used<<32; got != want {
		return fmt.Errorf("tail of the index is %#x, want %#x", got, want)
	}
	return nil
}

// table checks a hash table and returns the objects in it.
func (r *reader) table(table, buckets uint64, typ byte, payload uint64) (map[string]uint64, error) {
	found := map[string]uint64{}
	for b := range buckets {
		last := uint64(0)
		for at := r.u64(table + b*bucketSize); at != 0; at = r.u64(at + dNextHash) {
			if err := r.is(at, typ); err != nil {
				return nil, err
			}
			p := r.m[at+payload : at+r.size(at)]
			if h := keyedHash(&r.fileID, p); h != r.u64(at+dHash) || h%buckets != b {
				return nil, fmt.Errorf("hash of object at %#x", at)
			}
			if found[string(p)] != 0 {
				return nil, fmt.Errorf("%.40q is there twice", p)
			}
			found[string(p)] = at
			last = at
		}
		if got := r.u64(table + b*bucketSize + 8); got != last {
			return nil, fmt.Errorf("end of chain is %#x, want %#x", got, last)
		}
	}
	if uint64(len(found)) != r.counts[typ] {
		return nil, fmt.Errorf("%d of %d objects in the hash table", len(found), r.counts[typ])
	}
	return found, nil
}

func (r *reader) data() error {
	found, err := r.table(dataTable, dataBuckets, typeData, dPayload)
	if err != nil {
		return err
	}
	for p, at := range found {
		want := r.refersTo[at]
		entries, _, _, err := r.chain(r.u64(at+dEntryArray), r.u64(at+dEntries)-1)
		if err != nil {
			return fmt.Errorf("%.40q: %w", p, err)
		}
		if got := append([]uint64{r.u64(at + dEntry)}, entries...); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("%.40q: entries %#x, want %#x", p, got, want)
		}
	}
	return nil
}

func (r *reader) fields() error {
	found, err := r.table(fieldTable, fieldBuckets, typeField, fPayload)
	if err != nil {
		return err
	}
	n := uint64(0)
	for name, at := range found {
		for d := r.u64(at + fHeadData); d != 0; d = r.u64(d + dNextField) {
			if err := r.is(d, typeData); err != nil {
				return err
			}
			if !bytes.HasPrefix(r.m[d+dPayload:], []byte(name+"=")) {
				return fmt.Errorf("data at %#x is not of field %s", d, name)
			}
			n++
		}
	}
	if n != r.counts[typeData] {
		return fmt.Errorf("%d of %d data objects belong to fields", n, r.counts[typeData])
	}
	return nil
}
