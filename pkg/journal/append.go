// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"slices"
)

// record is an entry as it goes into a file.
type record struct {
	seqnum, realtime, monotonic uint64
	boot                        [16]byte
	set                         *set     // fields that many entries have, may be nil
	payloads                    [][]byte // NAME=value
}

// set is a list of fields that many entries have. Where their data objects
// are is kept for the file of the last entry.
type set struct {
	payloads [][]byte
	file     *file
	objects  []*data
}

// maxKnown limits the data objects kept in memory; what sets share counts once.
const maxKnown = 1024

// append adds an entry. Until everything is known and the space is there,
// nothing is stored. errFull and errDamaged are for another file.
func (f *file) append(r *record) error {
	return guard(func() error {
		objects, err := f.resolve(r)
		if err != nil {
			return err
		}
		p := f.layOut(objects)
		if err := f.reserve(p.end - f.tail); err != nil {
			return err
		}
		f.store(r, objects, &p)
		f.link(objects, &p)
		f.commit(r, &p)
		return nil
	})
}

// guard turns a fault of the mapping into errDamaged: somebody cut the file,
// or the file system has lost the page.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = fmt.Errorf("%w: fault in the mapping", errDamaged)
		default:
			panic(fault)
		}
	}()
	return do()
}

// resolve finds the data objects of an entry, in the order of their offsets.
// Those without one are new.
func (f *file) resolve(r *record) ([]*data, error) {
	objects := f.found[:0]
	if r.set != nil {
		if err := f.resolveSet(r.set); err != nil {
			return nil, err
		}
		objects = append(objects, r.set.objects...)
	}
	for i, payload := range r.payloads {
		d := f.known[string(payload)]
		if d == nil {
			d = &f.pending[i]
			d.off = 0
		}
		// Where a new object goes depends on the entry before.
		if d.off == 0 {
			if err := f.lookup(d, payload); err != nil {
				return nil, err
			}
		}
		if !isIn(objects, d) {
			objects = append(objects, d)
		}
	}
	slices.SortStableFunc(objects, func(a, b *data) int {
		// New ones come last: 0 - 1 is the largest number.
		switch x, y := a.off-1, b.off-1; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return objects, nil
}

// isIn tells whether the entry has the object already. The few that are new
// have no offset to be known by.
func isIn(objects []*data, d *data) bool {
	for _, o := range objects {
		if o == d || o.hash == d.hash && bytes.Equal(o.payload, d.payload) {
			return true
		}
	}
	return false
}

// resolveSet finds the data objects of a set in this file. They are kept in
// memory from then on.
func (f *file) resolveSet(s *set) error {
	if s.file != f {
		s.file, s.objects = nil, s.objects[:0]
		for _, payload := range s.payloads {
			d := f.known[string(payload)]
			if d == nil {
				if len(f.known) >= maxKnown {
					return errFull
				}
				d = &data{payload: payload}
				f.known[string(payload)] = d
			}
			s.objects = append(s.objects, d)
		}
		s.file = f
	}
	for _, d := range s.objects {
		if d.off != 0 {
			continue
		}
		// Where a new object goes depends on the entry before.
		if err := f.lookup(d, d.payload); err != nil {
			return err
		}
	}
	return nil
}

// plan says where the objects of an entry go.
type plan struct {
	fields [MaxFields]struct {
		name []byte
		off  uint64
	}
	nFields int
	entry   uint64
	index   uint64 // array for the index of entries, 0: not needed
	room    uint64 // of it
	datas   uint64
	arrays  uint64
	tail    uint64 // the last object
	end     uint64
}

// layOut gives every new object its place: fields and data, the entry, arrays.
func (f *file) layOut(objects []*data) plan {
	p := plan{end: f.tail}
	place := func(size uint64) uint64 {
		p.tail, p.end = p.end, align8(p.end+size)
		return p.tail
	}
	for _, d := range objects {
		if d.off != 0 {
			continue
		}
		name := fieldName(d.payload)
		if f.fields[string(name)] == nil && !p.hasField(name) {
			p.fields[p.nFields].name, p.fields[p.nFields].off = name, place(fPayload+uint64(len(name)))
			p.nFields++
		}
		d.array = place(dPayload + uint64(len(d.payload)))
		p.datas++
	}
	p.entry = place(eItems + uint64(len(objects))*entryItem)
	for _, d := range objects {
		if d.off == 0 {
			continue
		}
		d.array = 0
		if d.room = d.arrays.next(); d.room > 0 {
			d.array = place(aItems + d.room*arrayItem)
			p.arrays++
		}
	}
	if p.room = f.index.next(); p.room > 0 {
		p.index = place(aItems + p.room*arrayItem)
		p.arrays++
	}
	return p
}

func (p *plan) hasField(name []byte) bool {
	for i := range p.nFields {
		if bytes.Equal(p.fields[i].name, name) {
			return true
		}
	}
	return false
}

func fieldName(payload []byte) []byte { return payload[:bytes.IndexByte(payload, '=')] }

// store appends the objects: complete, but nothing refers to them yet.
func (f *file) store(r *record, objects []*data, p *plan) {
	for i := range p.nFields {
		name, off := p.fields[i].name, p.fields[i].off
		f.object(off, typeField, fPayload+uint64(len(name)))
		f.put(off+fHash, keyedHash(&f.id, name))
		copy(f.m[off+fPayload:], name)
		f.fields[string(name)] = &field{off: off}
	}
	xor := uint64(0)
	for i, d := range objects {
		at := d.off
		if at == 0 {
			at = d.array
			f.storeData(d, p.entry)
		} else if d.array != 0 {
			f.object(d.array, typeEntryArray, aItems+d.room*arrayItem)
		}
		item := p.entry + eItems + uint64(i)*entryItem
		f.put(item, at)
		f.put(item+8, d.hash)
		xor ^= d.plain
	}
	f.object(p.entry, typeEntry, eItems+uint64(len(objects))*entryItem)
	f.put(p.entry+eSeqnum, r.seqnum)
	f.put(p.entry+eRealtime, r.realtime)
	f.put(p.entry+eMonotonic, r.monotonic)
	copy(f.m[p.entry+eBootID:], r.boot[:])
	f.put(p.entry+eXorHash, xor)
	if p.index != 0 {
		f.object(p.index, typeEntryArray, aItems+p.room*arrayItem)
	}
	f.count(p)
}

// storeData writes a new data object, which refers to the entry already.
func (f *file) storeData(d *data, entry uint64) {
	at := d.array
	f.object(at, typeData, dPayload+uint64(len(d.payload)))
	f.put(at+dHash, d.hash)
	f.put(at+dEntry, entry)
	f.put(at+dEntries, 1)
	copy(f.m[at+dPayload:], d.payload)
	parent := f.fields[string(fieldName(d.payload))]
	f.put(at+dNextField, parent.headData)
	parent.headData = at
}

// count makes the appended objects part of the file.
func (f *file) count(p *plan) {
	f.tail = p.end
	f.objects += uint64(p.nFields) + p.datas + p.arrays + 1
	f.datas += p.datas
	f.arrays += p.arrays
	f.fence()
	f.put(hTailObject, p.tail)
	f.put(hObjects, f.objects)
	f.put(hDatas, f.datas)
	f.put(hFields, uint64(len(f.fields)))
	f.put(hEntryArrays, f.arrays)
	f.put(hDataChainDepth, f.depth)
	f.put(hFieldChainDepth, f.fieldDepth)
	f.fence()
}

// fence keeps stores before it before those after it, for readers on machines
// that reorder them.
func (f *file) fence() { f.barrier.Add(1) }

// link makes the new objects known to hash tables and chains. What an object
// says about its number of entries comes last.
func (f *file) link(objects []*data, p *plan) {
	for i := range p.nFields {
		f.linkField(p.fields[i].name, p.fields[i].off)
	}
	for i, d := range objects {
		switch {
		case d.off == 0:
			f.linkData(objects[:i], d)
		case d.array != 0:
			f.chainArray(&d.arrays, d.off+dEntryArray, d.array, d.room)
		}
	}
	if p.index != 0 {
		f.chainArray(&f.index, hEntryArray, p.index, p.room)
	}
	for _, d := range objects {
		if d.off != 0 {
			f.addToArray(&d.arrays, p.entry)
		}
	}
	f.addToArray(&f.index, p.entry)
	f.fence()
	for _, d := range objects {
		d.n++
		if d.off == 0 {
			d.off = d.array
		} else {
			f.put(d.off+dEntries, d.n)
		}
	}
}

func (f *file) linkField(name []byte, off uint64) {
	n := keyedHash(&f.id, name) % fieldBuckets
	bucket := fieldTable + n*bucketSize
	end := &f.fieldEnds[n]
	if end.off == 0 {
		f.put(bucket, off)
	} else {
		f.put(end.off+fNextHash, off)
	}
	f.put(bucket+8, off)
	f.fieldDepth = max(f.fieldDepth, end.depth)
	end.off = off
	end.depth++
}

// linkData puts a new data object at the end of its chain. Of the objects
// before it in the same entry some may be in the same chain.
func (f *file) linkData(before []*data, d *data) {
	bucket := f.bucket(d.hash)
	last := d.last
	for _, b := range before {
		if b.off == 0 && f.bucket(b.hash) == bucket {
			last = b.array
		}
	}
	if last == 0 {
		f.put(bucket, d.array)
	} else {
		f.put(last+dNextHash, d.array)
	}
	f.put(bucket+8, d.array)
	parent := f.fields[string(fieldName(d.payload))]
	f.put(parent.off+fHeadData, d.array)
}

// chainArray appends an array to a chain; ref is where the first one is noted.
func (f *file) chainArray(c *chain, ref, array, room uint64) {
	if c.tail != 0 {
		ref = c.tail + aNext
	}
	f.put(ref, array)
	c.tail, c.used, c.room = array, 0, room
}

func (f *file) addToArray(c *chain, entry uint64) {
	f.put(c.tail+aItems+c.used*arrayItem, entry)
	c.used++
	c.n++
}

// commit lets readers see the entry. The number of entries is written and not
// stored: that is what those who watch the file are told about.
func (f *file) commit(r *record, p *plan) {
	if f.headSeqnum == 0 {
		f.headSeqnum = r.seqnum
		f.put(hHeadSeqnum, r.seqnum)
		f.put(hHeadRealtime, r.realtime)
		f.headRealtime = r.realtime
	}
	f.lastRealtime = r.realtime
	f.put(hTailSeqnum, r.seqnum)
	f.put(hTailRealtime, r.realtime)
	f.put(hTailMonotonic, r.monotonic)
	copy(f.m[hTailBootID:], r.boot[:])
	binary.LittleEndian.PutUint32(f.m[hTailArray:], uint32(f.index.tail))
	binary.LittleEndian.PutUint32(f.m[hTailArrayEntries:], uint32(f.index.used))
	f.put(hTailEntry, p.entry)
	f.fence()
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], f.index.n)
	if _, err := f.f.WriteAt(n[:], hEntries); err != nil {
		f.put(hEntries, f.index.n)
	}
}
