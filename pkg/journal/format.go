// SPDX-License-Identifier: Apache-2.0

package journal

// Layout of a journal file. All numbers are little-endian; all objects start
// at multiples of 8.

const signature = "LPKSHHRH"

// Offsets in the header.
const (
	hIncompatible     = 12
	hState            = 16
	hFileID           = 24
	hMachineID        = 40
	hTailBootID       = 56
	hSeqnumID         = 72
	hHeaderSize       = 88
	hArenaSize        = 96
	hDataTable        = 104 // offset of the items, size of the items
	hFieldTable       = 120
	hTailObject       = 136
	hObjects          = 144
	hEntries          = 152
	hTailSeqnum       = 160
	hHeadSeqnum       = 168
	hEntryArray       = 176
	hHeadRealtime     = 184
	hTailRealtime     = 192
	hTailMonotonic    = 200
	hDatas            = 208
	hFields           = 216
	hEntryArrays      = 232
	hDataChainDepth   = 240
	hFieldChainDepth  = 248
	hTailArray        = 256 // 32 bits
	hTailArrayEntries = 260 // 32 bits
	hTailEntry        = 264
	headerSize        = 272
)

// Flags of the header. No compatible one is set: that the boot ID in the header
// is that of the last entry is true, but journalctl --verify of systemd 252
// refuses the file that says so.
const incompatibleKeyedHash = 1 << 2

// States in the header.
const (
	stateOffline  byte = 0
	stateOnline   byte = 1
	stateArchived byte = 2
)

// Types of objects.
const (
	typeData       byte = 1
	typeField      byte = 2
	typeEntry      byte = 3
	typeDataTable  byte = 4
	typeFieldTable byte = 5
	typeEntryArray byte = 6
)

// Offsets in objects; each begins with its type and size.
const (
	oSize        = 8
	objectHeader = 16

	dHash       = 16
	dNextHash   = 24
	dNextField  = 32
	dEntry      = 40
	dEntryArray = 48
	dEntries    = 56
	dPayload    = 64

	fHash     = 16
	fNextHash = 24
	fHeadData = 32
	fPayload  = 40

	eSeqnum    = 16
	eRealtime  = 24
	eMonotonic = 32
	eBootID    = 40
	eXorHash   = 56
	eItems     = 64
	entryItem  = 16 // offset and hash of a data object

	aNext      = 16
	aItems     = 24
	arrayItem  = 8
	bucketSize = 16 // head and tail of a chain
)

// Sizes of the hash tables: primes. A full file of the default size has chains
// of four data objects; there are a dozen fields.
const (
	dataBuckets  = 2039
	fieldBuckets = 61

	fieldTable = headerSize + objectHeader
	dataTable  = fieldTable + fieldBuckets*bucketSize + objectHeader
	firstTail  = dataTable + dataBuckets*bucketSize
)

// Entry arrays double from the first size to the last.
const (
	firstArray = 4
	lastArray  = 2048
)

func align8(n uint64) uint64 { return (n + 7) &^ 7 }
