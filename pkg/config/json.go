// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// header is the part all kinds share.
type header struct {
	Version string `json:"rktVersion"`
	Kind    string `json:"rktKind"`
}

// decode is json.Unmarshal with line and column in the error. The text of the
// cause stays as encoding/json has it: scripts match on it.
func decode(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return position(data, syntax.Offset, err)
	case errors.As(err, &typ):
		return position(data, typ.Offset, err)
	}
	return err
}

// position prefixes err with where in data the byte before offset is.
func position(data []byte, offset int64, err error) error {
	at := max(0, min(int(offset), len(data))-1)
	before := data[:at]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := at - bytes.LastIndexByte(before, '\n')
	return fmt.Errorf("line %d, column %d: %w", line, column, err)
}

// unknownFields lists the fields of the object data that v, a pointer to a
// struct, has no place for, sorted. Names match as encoding/json matches them,
// whatever their case.
func unknownFields(data []byte, v any) []string {
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil {
		return nil
	}
	known := fieldNames(reflect.TypeOf(v).Elem())
	var unknown []string
	for name := range object {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			names = append(names, fieldNames(f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// refuseUnknown refuses fields of the object data that v has no place for: a
// field that is misspelt would silently not count. in says where the object is.
func refuseUnknown(in string, data []byte, v any) error {
	unknown := unknownFields(data, v)
	if len(unknown) == 0 {
		return nil
	}
	names := make([]string, len(unknown))
	for i, name := range unknown {
		names[i] = strconv.Quote(in + name)
	}
	if len(names) == 1 {
		return fmt.Errorf("unknown field %s", names[0])
	}
	return fmt.Errorf("unknown fields %s", strings.Join(names, ", "))
}

// refuseUnknownInList does so for each object in the list field of data.
func refuseUnknownInList(data []byte, field string, v any) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	for name, value := range object {
		if !strings.EqualFold(name, field) {
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(value, &list); err != nil {
			return err
		}
		for i, element := range list {
			if err := refuseUnknown(fmt.Sprintf("%s[%d].", field, i), element, v); err != nil {
				return err
			}
		}
	}
	return nil
}
