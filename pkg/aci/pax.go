// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// extendedRecords moves what a ustar header cannot hold from hdr to the PAX
// records it returns.
func extendedRecords(hdr *tar.Header) map[string]string {
	const maxSize, maxID = 1<<33 - 1, 1<<21 - 1
	records := map[string]string{}
	if hdr.Size > maxSize {
		records["size"] = strconv.FormatInt(hdr.Size, 10)
		hdr.Size = 0
	}
	if hdr.Uid > maxID {
		records["uid"] = strconv.Itoa(hdr.Uid)
		hdr.Uid = 0
	}
	if hdr.Gid > maxID {
		records["gid"] = strconv.Itoa(hdr.Gid)
		hdr.Gid = 0
	}
	if s := hdr.ModTime.Unix(); s < 0 || s > maxSize {
		records["mtime"] = strconv.FormatInt(s, 10)
		hdr.ModTime = time.Unix(0, 0)
	}
	return records
}

// extendedHeader returns the header, data and padding that give records to the
// entry after it.
func extendedHeader(records map[string]string) ([]byte, error) {
	var data []byte
	for _, key := range slices.Sorted(maps.Keys(records)) {
		data = append(data, paxRecord(key, records[key])...)
	}
	block, err := ustarBlock(&tar.Header{Typeflag: tar.TypeReg, Name: "PaxHeaders.0/file", Size: int64(len(data)), ModTime: time.Unix(0, 0)})
	if err != nil {
		return nil, err
	}
	block[typeflagOffset] = tar.TypeXHeader
	setChecksum(block)
	return slices.Concat(block, data, padding(int64(len(data)))), nil
}

// paxRecord returns "LENGTH KEY=VALUE\n"; the length counts its own digits.
func paxRecord(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	for digits := 1; ; digits++ {
		if length := strconv.Itoa(len(rest) + digits); len(length) == digits {
			return length + rest
		}
	}
}

// parsePAX reads the records of an extended header.
func parsePAX(data []byte) (map[string]string, error) {
	records := map[string]string{}
	for text := string(bytes.TrimRight(data, "\x00")); text != ""; {
		digits, _, ok := strings.Cut(text, " ")
		length, err := strconv.Atoi(digits)
		if !ok || err != nil || length <= len(digits)+1 || length > len(text) || text[length-1] != '\n' {
			return nil, errors.New("invalid extended header")
		}
		key, value, ok := strings.Cut(text[len(digits)+1:length-1], "=")
		if !ok || key == "" {
			return nil, errors.New("invalid extended header")
		}
		records[key] = value
		text = text[length:]
	}
	return records, nil
}

// ustarBlock returns the one block of a header that needs no extension.
func ustarBlock(hdr *tar.Header) ([]byte, error) {
	var b bytes.Buffer
	plain := *hdr
	plain.Format = tar.FormatUSTAR
	if err := tar.NewWriter(&b).WriteHeader(&plain); err != nil {
		return nil, fmt.Errorf("tar header: %w", err)
	}
	return b.Bytes(), nil
}

// Layout of a tar header, POSIX.1-1988.
const (
	blockSize      = 512
	sizeOffset     = 124
	sizeEnd        = 136
	checksumOffset = 148
	checksumEnd    = 156
	typeflagOffset = 156
	magicOffset    = 257
	prefixOffset   = 345
	prefixEnd      = 500
)

// setChecksum makes the checksum of a changed header right again.
func setChecksum(block []byte) {
	copy(block[checksumOffset:checksumEnd], "        ")
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	copy(block[checksumOffset:checksumEnd], fmt.Sprintf("%06o\x00 ", sum))
}

// padding returns the zeros between n bytes of data and the next header.
func padding(n int64) []byte {
	return make([]byte, (blockSize-n%blockSize)%blockSize)
}
