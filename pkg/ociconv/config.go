// SPDX-License-Identifier: Apache-2.0

package ociconv

import (
	"encoding/json"
	"fmt"
)

// Config is an image config, as far as appc has a use for it.
type Config struct {
	Author       string
	Created      string
	Architecture string
	Variant      string
	OS           string
	App          *AppConfig // nil if there is none
	DiffIDs      []string   // base first
}

// AppConfig says how to run the image.
type AppConfig struct {
	User         string              `json:"User"`
	Env          []string            `json:"Env"`
	Entrypoint   Words               `json:"Entrypoint"`
	Cmd          Words               `json:"Cmd"`
	WorkingDir   string              `json:"WorkingDir"`
	Volumes      map[string]struct{} `json:"Volumes"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts"`
	Labels       map[string]string   `json:"Labels"`
}

// Words is a command line. Some builders write a single string, which stands
// for one word, as it does for docker.
type Words []string

// UnmarshalJSON accepts a list of strings, a string and null.
func (w *Words) UnmarshalJSON(data []byte) error {
	if data[0] != '"' {
		return json.Unmarshal(data, (*[]string)(w))
	}
	var one string
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*w = nil
	if one != "" {
		*w = Words{one}
	}
	return nil
}

// ParseConfig parses a config.
func ParseConfig(data []byte) (*Config, error) {
	if len(data) > MaxConfig {
		return nil, fmt.Errorf("image config is larger than %d bytes", MaxConfig)
	}
	var raw struct {
		Author       string     `json:"author"`
		Created      string     `json:"created"`
		Architecture string     `json:"architecture"`
		Variant      string     `json:"variant"`
		OS           string     `json:"os"`
		Config       *AppConfig `json:"config"`
		RootFS       struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("parse image config: %w", err)
	}
	for i, id := range raw.RootFS.DiffIDs {
		if err := CheckDigest(id); err != nil {
			return nil, fmt.Errorf("image config: layer %d: %w", i, err)
		}
	}
	return &Config{
		Author:       raw.Author,
		Created:      raw.Created,
		Architecture: raw.Architecture,
		Variant:      raw.Variant,
		OS:           raw.OS,
		App:          raw.Config,
		DiffIDs:      raw.RootFS.DiffIDs,
	}, nil
}
