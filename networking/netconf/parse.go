// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/version"
)

// maxPlugins bounds a chain; real ones have a handful.
const maxPlugins = 64

// defaultVersion is the CNI version of a configuration that names none.
const defaultVersion = "0.1.0"

// nameRE is what the CNI specification has for network names. libcni refuses
// others.
var nameRE = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`)

// conf is what rkt takes from a configuration.
type conf struct {
	name         string
	version      string
	types        []string
	ipamType     string
	ipMasq       bool
	capabilities map[string]bool
}

// object is a JSON object of which the keys that libcni or rkt read are taken
// out. As in all programs that are written in Go, the case of keys is
// irrelevant and the last of several wins. The values may have any type.
type object struct {
	CNIVersion             json.RawMessage `json:"cniVersion"`
	CNIVersions            json.RawMessage `json:"cniVersions"`
	Name                   json.RawMessage `json:"name"`
	Type                   json.RawMessage `json:"type"`
	Plugins                json.RawMessage `json:"plugins"`
	IPAM                   json.RawMessage `json:"ipam"`
	IPMasq                 json.RawMessage `json:"ipMasq"`
	Capabilities           json.RawMessage `json:"capabilities"`
	DNS                    json.RawMessage `json:"dns"`
	PrevResult             json.RawMessage `json:"prevResult"`
	RuntimeConfig          json.RawMessage `json:"runtimeConfig"`
	DisableCheck           json.RawMessage `json:"disableCheck"`
	DisableGC              json.RawMessage `json:"disableGC"`
	LoadOnlyInlinedPlugins json.RawMessage `json:"loadOnlyInlinedPlugins"`
}

// parse reads a configuration. What it returns beside an error has at most the
// name.
func parse(data []byte, chain bool) (conf, error) {
	var top object
	if err := json.Unmarshal(data, &top); err != nil {
		return conf{}, fmt.Errorf("not a JSON object: %w", err)
	}
	name, err := parseName(top.Name)
	if err != nil {
		return conf{}, err
	}
	plugins, err := pluginsOf(data, top, chain)
	if err != nil {
		return conf{name: name}, err
	}
	c := conf{name: name, capabilities: map[string]bool{}}
	if c.version, err = parseVersion(top, chain); err != nil {
		return conf{name: name}, err
	}
	for _, p := range plugins {
		if err := c.addPlugin(p); err != nil {
			return conf{name: name}, err
		}
	}
	if _, err := confList(data, c, chain); err != nil {
		return conf{name: name}, err
	}
	return c, nil
}

func parseName(raw json.RawMessage) (string, error) {
	name, err := str(raw)
	switch {
	case err != nil:
		return "", fmt.Errorf("name: %w", err)
	case name == "":
		return "", errors.New("no name")
	case !nameRE.MatchString(name):
		return "", fmt.Errorf("invalid name %q", name)
	}
	return name, nil
}

// pluginsOf returns the object of each plugin.
func pluginsOf(data []byte, top object, chain bool) ([]json.RawMessage, error) {
	if !chain {
		if top.Type == nil && top.Plugins != nil {
			return nil, errors.New("no type (a list of plugins goes into a file named .conflist)")
		}
		return []json.RawMessage{data}, nil
	}
	var plugins []json.RawMessage
	if top.Plugins != nil {
		if err := json.Unmarshal(top.Plugins, &plugins); err != nil {
			return nil, fmt.Errorf("plugins: %w", err)
		}
	}
	if len(plugins) == 0 {
		return nil, errors.New("no plugins")
	}
	if len(plugins) > maxPlugins {
		return nil, fmt.Errorf("%d plugins, more than %d", len(plugins), maxPlugins)
	}
	return plugins, nil
}

func (c *conf) addPlugin(data json.RawMessage) error {
	var p object
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("plugin %d: %w", len(c.types), err)
	}
	typ, err := parseType(p.Type)
	if err != nil {
		return err
	}
	c.types = append(c.types, typ)
	c.ipMasq = c.ipMasq || isTrue(p.IPMasq)
	if c.ipamType == "" {
		var ipam object
		_ = json.Unmarshal(orNull(p.IPAM), &ipam) // confList tells of another type
		if c.ipamType, err = str(ipam.Type); err != nil {
			return fmt.Errorf("ipam: type: %w", err)
		}
	}
	var capabilities map[string]bool
	if err := json.Unmarshal(orNull(p.Capabilities), &capabilities); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	for name, declared := range capabilities {
		c.capabilities[name] = c.capabilities[name] || declared
	}
	return nil
}

// parseType takes what can be the name of a file in a directory of plugins.
func parseType(raw json.RawMessage) (string, error) {
	typ, err := str(raw)
	switch {
	case err != nil:
		return "", fmt.Errorf("type: %w", err)
	case typ == "":
		return "", errors.New("no type")
	case typ == "." || strings.ContainsAny(typ, "/\x00") || strings.Contains(typ, ".."):
		return "", fmt.Errorf("invalid type %q", typ)
	}
	return typ, nil
}

// parseVersion returns the version to talk to the plugins with: of those that a
// chain lists as cniVersions the highest that libcni knows.
func parseVersion(top object, chain bool) (string, error) {
	v, err := str(top.CNIVersion)
	if err != nil {
		return "", fmt.Errorf("cniVersion: %w", err)
	}
	if v != "" {
		if _, _, _, err := version.ParseVersion(v); err != nil {
			return "", fmt.Errorf("cniVersion %q: %w", v, err)
		}
	}
	if chain && top.CNIVersions != nil {
		if v, err = highest(v, top.CNIVersions); err != nil {
			return "", fmt.Errorf("cniVersions: %w", err)
		}
	}
	if v == "" {
		return defaultVersion, nil
	}
	return v, nil
}

// highest returns the highest known one of a version and a list of versions,
// and the version itself if none of them is known.
func highest(v string, raw json.RawMessage) (string, error) {
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		return "", err
	}
	best := ""
	for _, w := range append(list, v) {
		if w == "" {
			continue
		}
		above, err := version.GreaterThan(w, version.Current())
		if err != nil {
			return "", fmt.Errorf("%q: %w", w, err)
		}
		if above {
			continue
		}
		if better, err := version.GreaterThan(w, best); best == "" || err == nil && better {
			best = w
		}
	}
	if best == "" {
		return v, nil
	}
	return best, nil
}

// str reads a string that may be missing.
func str(raw json.RawMessage) (s string, err error) {
	err = json.Unmarshal(orNull(raw), &s)
	return s, err
}

func isTrue(raw json.RawMessage) bool {
	var b bool
	return json.Unmarshal(orNull(raw), &b) == nil && b
}

func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}

// confList makes the list that libcni executes.
func confList(data []byte, c conf, chain bool) (*libcni.NetworkConfigList, error) {
	var known object
	if err := json.Unmarshal(data, &known); err != nil {
		return nil, err
	}
	plugins, err := pluginsOf(data, known, chain)
	if err != nil {
		return nil, err
	}
	for i := range plugins {
		if plugins[i], err = canonical(plugins[i]); err != nil {
			return nil, fmt.Errorf("plugin %d: %w", i, err)
		}
	}
	top := map[string]json.RawMessage{}
	if chain {
		if err := errors.Join(json.Unmarshal(data, &top), rename(top, known)); err != nil {
			return nil, err
		}
		delete(top, "cniVersions") // one of them is chosen already
	}
	for key, value := range map[string]any{"name": c.name, "cniVersion": c.version, "plugins": plugins} {
		if top[key], err = json.Marshal(value); err != nil {
			return nil, err
		}
	}
	list, err := json.Marshal(top)
	if err != nil {
		return nil, err
	}
	return libcni.NetworkConfFromBytes(list)
}

// canonical writes the keys of a plugin's object as libcni does: what libcni
// sets in it must not lie beside the same key in another case.
func canonical(data json.RawMessage) (json.RawMessage, error) {
	var known object
	all := map[string]json.RawMessage{}
	if err := errors.Join(json.Unmarshal(data, &known), json.Unmarshal(data, &all)); err != nil {
		return nil, err
	}
	if err := rename(all, known); err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

// rename replaces all spellings of the known keys by the canonical one.
func rename(all map[string]json.RawMessage, known object) error {
	data, err := json.Marshal(known)
	if err != nil {
		return err
	}
	values := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &values); err != nil {
		return err
	}
	for key := range all {
		for name := range values {
			if strings.EqualFold(key, name) {
				delete(all, key)
			}
		}
	}
	for name, value := range values {
		if string(value) != "null" {
			all[name] = value
		}
	}
	return nil
}
