// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

type stage1File struct {
	header
	Name     string `json:"name"`
	Version  string `json:"version"`
	Location string `json:"location"`
}

func (l *level) parseStage1(data []byte) error {
	var f stage1File
	if err := decode(data, &f); err != nil {
		return err
	}
	if err := refuseUnknown("", data, &f); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return fmt.Errorf("invalid stage1 configuration: %w", err)
	}
	if f.Name != "" {
		if l.Stage1.Name != "" {
			return errors.New("name and version of a default stage1 image are already specified")
		}
		l.Stage1.Name, l.Stage1.Version = f.Name, f.Version
	}
	if f.Location != "" {
		if l.Stage1.Location != "" {
			return errors.New("location of a default stage1 image is already specified")
		}
		l.Stage1.Location = f.Location
	}
	return nil
}

func (f *stage1File) check() error {
	switch {
	case f.Name == "" && f.Version != "":
		return errors.New("default stage1 image version specified, but name is missing")
	case f.Name != "" && f.Version == "":
		return errors.New("default stage1 image name specified, but version is missing")
	}
	return checkLocation(f.Location)
}

func checkLocation(s string) error {
	if s == "" || filepath.IsAbs(s) {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("default stage1 image location is an invalid URL: %w", err)
	}
	if u.Scheme == "" {
		return errors.New("default stage1 image location is either a relative path or a URL without scheme")
	}
	allowed := []string{"docker", "file", "http", "https"}
	if !slices.Contains(allowed, u.Scheme) {
		return fmt.Errorf("default stage1 image location URL has invalid scheme %q, allowed schemes are %q",
			u.Scheme, strings.Join(allowed, ", "))
	}
	return nil
}
