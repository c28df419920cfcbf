// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"path/filepath"
)

type pathsFile struct {
	header
	Data         string `json:"data"`
	Stage1Images string `json:"stage1-images"`
}

func (l *level) parsePaths(data []byte) error {
	var f pathsFile
	if err := decode(data, &f); err != nil {
		return err
	}
	if err := refuseUnknown("", data, &f); err != nil {
		return err
	}
	if err := setPath(&l.Paths.Data, f.Data, "data directory"); err != nil {
		return err
	}
	return setPath(&l.Paths.Stage1Images, f.Stage1Images, "stage1 images directory")
}

func setPath(dst *string, v, what string) error {
	if v == "" {
		return nil
	}
	if *dst != "" {
		return errors.New(what + " is already specified")
	}
	if !filepath.IsAbs(v) {
		return errors.New(what + " must be an absolute path")
	}
	*dst = v
	return nil
}
