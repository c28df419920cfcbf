// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"fmt"
)

// data is a data object, or one that is about to be appended (off 0).
type data struct {
	off     uint64
	hash    uint64
	plain   uint64 // the hash that goes into xor_hash
	last    uint64 // end of its chain in the hash table; only while off is 0
	n       uint64 // entries that refer to it
	arrays  chain  // of the entries after the first
	payload []byte
	array   uint64 // offset and size of an array that is about to be appended
	room    uint64
}

// chain is a chain of entry arrays: where it ends.
type chain struct {
	tail uint64 // last array, 0 if there is none
	used uint64 // of its items
	room uint64 // its items
	n    uint64 // items of all arrays together
}

// next is the number of items of the array that has to be appended before one
// more fits, 0 if there is room.
func (c *chain) next() uint64 {
	if c.used < c.room {
		return 0
	}
	return min(max(firstArray, 2*c.n), lastArray)
}

// lookup fills d with the data object that has the payload; d.off stays 0 if
// there is none.
func (f *file) lookup(d *data, payload []byte) error {
	*d = data{hash: keyedHash(&f.id, payload), plain: plainHash(payload), payload: payload}
	depth := uint64(0)
	for at := f.get(f.bucket(d.hash)); at != 0; depth++ {
		size, err := f.check(at, typeData, dPayload)
		if err != nil {
			return err
		}
		if f.get(at+dHash) == d.hash && bytes.Equal(f.m[at+dPayload:at+size], payload) {
			return f.load(d, at)
		}
		d.last = at
		at = f.get(at + dNextHash)
		if at != 0 && at <= d.last { // chains are in the order of offsets
			return fmt.Errorf("%w: chain goes back at %#x", errDamaged, d.last)
		}
	}
	f.depth = max(f.depth, depth)
	return nil
}

func (f *file) bucket(hash uint64) uint64 { return dataTable + hash%dataBuckets*bucketSize }

// check makes sure that an object is inside the arena and returns its size,
// which must not be read again: the pod's root may change it meanwhile.
func (f *file) check(at uint64, typ byte, least uint64) (size uint64, err error) {
	if at%8 != 0 || at < firstTail || at > f.tail || f.tail-at < least {
		return 0, fmt.Errorf("%w: offset %#x", errDamaged, at)
	}
	size = f.get(at + oSize)
	if f.m[at] != typ || size < least || size > f.tail-at {
		return 0, fmt.Errorf("%w: object at %#x", errDamaged, at)
	}
	return size, nil
}

// load reads what has to be known of a data object to add an entry to it.
func (f *file) load(d *data, at uint64) error {
	d.off, d.last, d.n = at, 0, f.get(at+dEntries)
	if d.n == 0 || d.n > f.index.n {
		return fmt.Errorf("%w: count of entries at %#x", errDamaged, at)
	}
	d.arrays.n = d.n - 1
	left := d.arrays.n
	for array := f.get(at + dEntryArray); left > 0; array = f.get(array + aNext) {
		size, err := f.check(array, typeEntryArray, aItems+arrayItem)
		if err != nil {
			return err
		}
		if array <= d.arrays.tail {
			return fmt.Errorf("%w: chain goes back at %#x", errDamaged, array)
		}
		room := (size - aItems) / arrayItem
		d.arrays.tail, d.arrays.room, d.arrays.used = array, room, min(room, left)
		left -= d.arrays.used
	}
	return nil
}
