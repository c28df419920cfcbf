// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxText is how many bytes of an offending line an error repeats.
const maxText = 120

// lineColumn counts from 1; columns are characters.
func lineColumn(data []byte, offset int) (line, column int) {
	offset = min(max(offset, 0), len(data))
	start := bytes.LastIndexByte(data[:offset], '\n') + 1
	return bytes.Count(data[:start], []byte{'\n'}) + 1, utf8.RuneCount(data[start:offset]) + 1
}

// lineText returns the line at offset, or what is near offset of a long one.
func lineText(data []byte, offset int) string {
	offset = min(max(offset, 0), len(data))
	start := bytes.LastIndexByte(data[:offset], '\n') + 1
	end := len(data)
	if i := bytes.IndexByte(data[offset:], '\n'); i >= 0 {
		end = offset + i
	}
	if end-start > maxText {
		start = max(start, offset-maxText/2)
		end = min(end, start+maxText)
	}
	return string(bytes.ToValidUTF8(bytes.TrimSpace(data[start:end]), []byte("?")))
}

func newSourceError(data []byte, offset int, err error) *Error {
	line, column := lineColumn(data, offset)
	return &Error{Line: line, Column: column, Text: lineText(data, offset), Err: err}
}

// typeError says which value has the wrong type. The path is found again in
// the source because the one of encoding/json has no indexes.
func typeError(data []byte, mismatch *json.UnmarshalTypeError) error {
	path, start := pathAt(data, int(mismatch.Offset)-1)
	e := newSourceError(data, start, fmt.Errorf("cannot use JSON %s as %s", mismatch.Value, typeName(mismatch.Type)))
	e.Path = path
	return e
}

// typeName is the word for a type that someone who writes JSON knows.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.String:
		return "string"
	case reflect.Pointer:
		return typeName(t.Elem())
	}
	return t.String()
}

// withPosition adds line and column of its path to a fault that validation
// found in the manifest data.
func withPosition(data []byte, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	positioned := *e
	positioned.Line, positioned.Column = lineColumn(data, offsetOf(data, e.Path))
	return &positioned
}

// offsetOf returns where the value at path starts, or, if the value is absent,
// the innermost object or array around it.
func offsetOf(data []byte, path string) int {
	best, length := 0, -1
	walk(data, func(p string, start, _ int) {
		inside := len(p) <= len(path) && strings.EqualFold(p, path[:len(p)]) &&
			(len(p) == 0 || len(p) == len(path) || path[len(p)] == '.' || path[len(p)] == '[')
		if inside && len(p) > length {
			best, length = start, len(p)
		}
	})
	return best
}

// pathAt returns path and start of the innermost value around offset.
func pathAt(data []byte, offset int) (path string, start int) {
	walk(data, func(p string, s, end int) {
		if s <= offset && offset < end && s >= start {
			path, start = p, s
		}
	})
	return path, start
}

// walk calls visit for each value of data with its path, start and end. It
// stops silently at the first fault of syntax; callers parsed data before.
func walk(data []byte, visit func(path string, start, end int)) {
	w := walker{data: data, dec: json.NewDecoder(bytes.NewReader(data)), visit: visit}
	w.value("")
}

type walker struct {
	data  []byte
	dec   *json.Decoder
	visit func(path string, start, end int)
}

// start returns where the next token begins.
func (w *walker) start() int {
	i := int(w.dec.InputOffset())
	for i < len(w.data) && strings.IndexByte(" \t\r\n,:", w.data[i]) >= 0 {
		i++
	}
	return i
}

func (w *walker) value(path string) bool {
	start := w.start()
	token, err := w.dec.Token()
	if err != nil {
		return false
	}
	ok := true
	switch token {
	case json.Delim('{'):
		ok = w.object(path)
	case json.Delim('['):
		ok = w.array(path)
	}
	if ok {
		w.visit(path, start, int(w.dec.InputOffset()))
	}
	return ok
}

func (w *walker) object(path string) bool {
	if path != "" {
		path += "."
	}
	for w.dec.More() {
		key, err := w.dec.Token()
		if err != nil {
			return false
		}
		name, _ := key.(string)
		if !w.value(path + name) {
			return false
		}
	}
	_, err := w.dec.Token()
	return err == nil
}

func (w *walker) array(path string) bool {
	for i := 0; w.dec.More(); i++ {
		if !w.value(path + "[" + strconv.Itoa(i) + "]") {
			return false
		}
	}
	_, err := w.dec.Token()
	return err == nil
}
