// SPDX-License-Identifier: Apache-2.0

package podunit

import (
	_ "embed"
	"strings"

	"github.com/rkt/rkt/v2/pkg/unit"
)

//go:embed systemdkeys.txt
var systemdKeys string

// directives are what systemd is known to take in a section.
func directives(section string) (out []string) {
	in := false
	for line := range strings.Lines(systemdKeys) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "["):
			in = line == "["+section+"]"
		case in:
			out = append(out, line)
		}
	}
	return out
}

// ours are directives that the service has for a reason.
func ours(section, key string) string {
	switch section + "." + key {
	case "Service.ExecStart", "Service.Delegate", "Service.KillMode", "Service.NotifyAccess":
		return "it is rkt's; the pod would not be supervised with another"
	case "Socket.Accept":
		return "a pod takes the listening socket, not one connection"
	case "Socket.Service":
		return "the socket is that of this pod"
	case "Unit.SourcePath":
		return "it is the path of this file"
	}
	return ""
}

// serviceTypes are those that fit a process that stays in the foreground.
const serviceTypes = " notify exec simple "

// pass takes a directive of [Unit], [Service] or [Socket] as it is.
func (d *Declaration) pass(e unit.Entry) {
	if strings.HasPrefix(e.Section, "X-") {
		return
	}
	if why := ours(e.Section, e.Key); why != "" {
		d.problem(e.Pos, "%s= cannot be set in [%s]: %s", e.Key, e.Section, why)
		return
	}
	if e.Section == sectionService && e.Key == "Type" && (e.Value == "" || !strings.Contains(serviceTypes, " "+e.Value+" ")) {
		d.problem(e.ValuePos, "Type=%s: has to be notify, exec or simple", e.Value)
		return
	}
	known := directives(e.Section)
	if len(known) > 0 && !contains(known, e.Key) && !strings.HasPrefix(e.Key, "X-") {
		d.unknown(e, known)
	}
	switch e.Section {
	case sectionUnit:
		d.unit = append(d.unit, e)
	case sectionService:
		d.service = append(d.service, e)
	case sectionSocket:
		d.socket = append(d.socket, e)
	}
}

// unknown: a later systemd may know what this list does not, so only what is
// near to something, or ours in another section, is taken for a mistake.
func (d *Declaration) unknown(e unit.Entry, known []string) {
	for _, k := range Keys() {
		if k.Name == e.Key {
			d.problem(e.Pos, "there is no %s= in [%s]; it belongs into [%s]", e.Key, e.Section, k.Section)
			return
		}
	}
	if near := unit.Nearest(e.Key, known); near != "" {
		d.problem(e.Pos, "systemd knows no %s= in [%s]; did you mean %s=?", e.Key, e.Section, near)
		return
	}
	d.warn(e.Pos, "%s= in [%s] is not known here; systemd may ignore it", e.Key, e.Section)
}

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// Directives of [Install] that make links.
const (
	wantedBy   = "WantedBy"
	requiredBy = "RequiredBy"
	upheldBy   = "UpheldBy"
	alias      = "Alias"
	instance   = "DefaultInstance"
)

func (d *Declaration) addInstall(e unit.Entry) {
	allowed := []string{wantedBy, requiredBy, upheldBy, alias, instance}
	if !contains(allowed, e.Key) {
		text := meant(e.Key, allowed, "", "=")
		if e.Key == "Also" {
			text = "; give the other unit a section [Install] of its own"
		}
		d.problem(e.Pos, "there is no %s= in [Install] of a pod%s", e.Key, text)
		return
	}
	if e.Key == instance {
		if d.fallback = e.Value; e.Value != "" && !validName("x@"+e.Value) {
			d.problem(e.ValuePos, "DefaultInstance=: %q cannot be part of the name of a unit", e.Value)
			d.fallback = ""
		}
		return
	}
	if e.Value == "" {
		d.install[e.Key] = nil
		return
	}
	for name := range strings.FieldsSeq(e.Value) {
		if err := d.checkUnitName(e.Key, name); err != "" {
			d.problem(e.ValuePos, "%s=: %s", e.Key, err)
			continue
		}
		d.install[e.Key] = append(d.install[e.Key], name)
	}
}

// unitEndings are the kinds of units that can want a service.
const unitEndings = " target service socket timer path slice scope mount automount swap device "

func (d *Declaration) checkUnitName(key, name string) string {
	i := strings.LastIndexByte(name, '.')
	switch {
	case strings.ContainsRune(name, '%'):
		return "specifiers are not expanded here: " + name
	case i < 1 || !validName(name[:i]) || !strings.Contains(unitEndings, " "+name[i+1:]+" "):
		return "no name of a unit: " + name
	case key == alias && name[i+1:] != "service":
		return "the alias of a service ends in .service: " + name
	case key == alias && name == d.Source.Service():
		return "the alias of a unit is another name: " + name
	}
	return ""
}
