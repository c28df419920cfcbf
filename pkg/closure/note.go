// SPDX-License-Identifier: Apache-2.0

package closure

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const (
	dlopenSection = ".note.dlopen"
	dlopenOwner   = "FDO"
	dlopenType    = 0x407c0c0a
)

var errNote = errors.New(dlopenSection + " is damaged")

// opened returns the sonames that a file opens when it wants them, as it says
// itself in ELF notes with a JSON list of features
// (uapi-group.org/specifications/specs/elf_dlopen_metadata). Of several names
// of one library the first counts.
func opened(file *elf.File) ([]string, error) {
	section := file.Section(dlopenSection)
	if section == nil {
		return nil, nil
	}
	data, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dlopenSection, err)
	}
	var out []string
	for len(data) > 0 {
		var n note
		if n, data, err = nextNote(file, data); err != nil {
			return nil, err
		}
		if n.owner != dlopenOwner || n.kind != dlopenType {
			continue
		}
		var features []struct {
			Soname []string `json:"soname"`
		}
		if err := json.Unmarshal([]byte(n.text), &features); err != nil {
			return nil, fmt.Errorf("%s: %w", dlopenSection, err)
		}
		for _, f := range features {
			if len(f.Soname) > 0 {
				out = append(out, f.Soname[0])
			}
		}
	}
	return out, nil
}

type note struct {
	owner string
	kind  uint32
	text  string
}

// nextNote splits off the first note: three words, then owner and content,
// each filled up to a multiple of four bytes.
func nextNote(file *elf.File, data []byte) (n note, rest []byte, err error) {
	const header, align = 12, 4
	if len(data) < header {
		return note{}, nil, errNote
	}
	owner, text := int64(file.ByteOrder.Uint32(data)), int64(file.ByteOrder.Uint32(data[4:]))
	n.kind = file.ByteOrder.Uint32(data[8:])
	data = data[header:]
	ownerEnd := (owner + align - 1) / align * align
	end := ownerEnd + (text+align-1)/align*align
	if end > int64(len(data)) {
		return note{}, nil, errNote
	}
	n.owner = strings.TrimRight(string(data[:owner]), "\x00")
	n.text = strings.TrimRight(string(data[ownerEnd:ownerEnd+text]), "\x00")
	return n, data[end:], nil
}
