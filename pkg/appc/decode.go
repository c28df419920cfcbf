// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	// MaxManifestSize is how many bytes a manifest may have.
	MaxManifestSize = 4 << 20
	// MaxDepth is how deep arrays and objects of a manifest may nest.
	MaxDepth = 64
)

// decode reads one JSON value into v and reports faults with their position.
func decode(data []byte, v any) error {
	if len(data) > MaxManifestSize {
		return &Error{Err: fmt.Errorf("manifest has %d bytes, more than %d", len(data), MaxManifestSize)}
	}
	if offset, deep := tooDeep(data); deep {
		return newSourceError(data, offset, fmt.Errorf("nested deeper than %d", MaxDepth))
	}
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		// Offset counts the bytes read, the offending one included.
		return newSourceError(data, int(syntax.Offset)-1, err)
	case errors.As(err, &mismatch):
		return typeError(data, mismatch)
	}
	return &Error{Err: err}
}

// ManifestKind returns the acKind of a manifest and checks nothing else but
// its syntax. Faults are *Error.
func ManifestKind(data []byte) (string, error) {
	var m struct {
		ACKind string `json:"acKind"`
	}
	err := decode(data, &m)
	return m.ACKind, err
}

// encode is json.Marshal: compact, keys in the order of the struct, HTML
// characters escaped as every other manifest in the field has them.
func encode(v any) ([]byte, error) { return json.Marshal(v) }

// Indent returns a manifest with prefix and indent as json.Indent makes it.
func Indent(compact []byte, prefix, indent string) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, compact, prefix, indent); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// tooDeep returns where data, which need not be valid JSON, first nests
// deeper than MaxDepth. json.Unmarshal's own limit is 10,000.
func tooDeep(data []byte) (offset int, deep bool) {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return i, true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return 0, false
}
