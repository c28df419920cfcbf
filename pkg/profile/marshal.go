// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"strconv"

	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/devfilter"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

// Marshal returns the content of the file.
func (p *Profile) Marshal() []byte {
	o := Object{}
	o.String("app", p.App)
	o.Int("pid", int64(p.PID))
	o.Raw("startTime", strconv.FormatUint(p.StartTime, 10))
	o.Int("uid", int64(p.UID))
	o.Int("gid", int64(p.GID))
	o.Raw("groups", list(p.Groups, func(b []byte, g int) []byte { return strconv.AppendInt(b, int64(g), 10) }))
	o.Raw("environment", list(p.Environment, appendString))
	if p.Bounding != nil {
		o.Raw("bounding", strconv.FormatUint(uint64(*p.Bounding), 10))
	}
	if p.Seccomp != nil {
		o.Raw("seccomp", marshalPolicy(p.Seccomp))
	}
	if p.NoNewPrivs {
		o.Bool("noNewPrivs", true)
	}
	if p.OOMScoreAdj != nil {
		o.Int("oomScoreAdj", *p.OOMScoreAdj)
	}
	if p.Cgroups != nil {
		o.Raw("cgroups", list(p.Cgroups, appendString))
	}
	if p.PrivateIPC {
		o.Bool("privateIPC", true)
	}
	if p.PrivateNet {
		o.Bool("privateNet", true)
	}
	o.Raw("rlimits", list(p.Rlimits, func(b []byte, r Rlimit) []byte {
		b = strconv.AppendUint(append(b, `{"cur":`...), r.Cur, 10)
		b = strconv.AppendUint(append(b, `,"max":`...), r.Max, 10)
		return append(b, '}')
	}))
	if p.Label != "" {
		o.String("label", p.Label)
	}
	if p.Start != nil {
		o.Raw("start", p.Start.marshal())
	}
	return append(o.Bytes(), '\n')
}

func (s *Start) marshal() string {
	o := Object{}
	o.Raw("exec", list(s.Exec, appendString))
	o.String("workDir", s.WorkDir)
	o.lists("preStart", s.PreStart)
	o.lists("postStop", s.PostStop)
	o.flag("readOnly", s.ReadOnly)
	o.flag("hostPaths", s.HostPaths)
	o.flag("keepSys", s.KeepSys)
	o.flag("wholeSys", s.WholeSys)
	o.strings("readOnlyPaths", s.ReadOnlyPaths)
	o.strings("hiddenPaths", s.HiddenPaths)
	o.flag("tty", s.TTY)
	o.flag("interactive", s.Interactive)
	o.Raw("streams", list(s.Streams, appendString))
	o.Raw("podCaps", strconv.FormatUint(uint64(s.PodCaps), 10))
	o.strings("podCalls", s.PodCalls)
	if s.UserShift != 0 {
		o.Int("userShift", int64(s.UserShift))
	}
	if len(s.Devices) > 0 {
		o.Raw("devices", list(s.Devices, marshalRule))
	}
	if s.Limits != (cgroup.Limits{}) {
		o.Raw("limits", marshalLimits(s.Limits))
	}
	return string(o.Bytes())
}

// marshalLimits writes what encoding/json reads back into cgroup.Limits.
func marshalLimits(l cgroup.Limits) string {
	o := Object{}
	o.Int("Memory", l.Memory)
	o.Int("MemoryLow", l.MemoryLow)
	o.Int("CPU", l.CPU)
	o.Int("CPUShares", l.CPUShares)
	o.Int("CPURequest", l.CPURequest)
	o.Int("Pids", l.Pids)
	o.Int("IOWeight", l.IOWeight)
	return string(o.Bytes())
}

func marshalRule(b []byte, r devfilter.Rule) []byte {
	o := Object{}
	o.Int("Type", int64(r.Type))
	o.Int("Major", r.Major)
	o.Int("Minor", r.Minor)
	o.String("Access", r.Access)
	return append(b, o.Bytes()...)
}

// flag writes a boolean that is left out if it is false.
func (o *Object) flag(name string, value bool) {
	if value {
		o.Bool(name, true)
	}
}

// strings writes a list that is left out if it is empty.
func (o *Object) strings(name string, value []string) {
	if len(value) > 0 {
		o.Raw(name, list(value, appendString))
	}
}

// lists writes a list of lists that is left out if it is empty.
func (o *Object) lists(name string, value [][]string) {
	if len(value) > 0 {
		o.Raw(name, list(value, func(b []byte, words []string) []byte { return append(b, list(words, appendString)...) }))
	}
}

// marshalPolicy writes what encoding/json reads back into a seccomp.Policy.
func marshalPolicy(p *seccomp.Policy) string {
	o := Object{}
	o.Int("Mode", int64(p.Mode))
	o.Raw("Calls", list(p.Calls, appendString))
	o.Raw("Guarded", list(p.Guarded, appendString))
	o.Int("Errno", int64(p.Errno))
	o.Int("Unknown", int64(p.Unknown))
	o.Bool("Unfiltered", p.Unfiltered)
	return string(o.Bytes())
}

// Object writes a JSON object, field by field, without reflection. The zero
// value is ready to use.
type Object struct{ b []byte }

// Bytes ends the object.
func (o *Object) Bytes() []byte {
	if len(o.b) == 0 {
		return []byte("{}")
	}
	return append(o.b, '}')
}

// Raw writes a field whose value is JSON already.
func (o *Object) Raw(name, value string) {
	sep := byte(',')
	if len(o.b) == 0 {
		sep = '{'
	}
	o.b = appendString(append(o.b, sep), name)
	o.b = append(append(o.b, ':'), value...)
}

// String writes a string field.
func (o *Object) String(name, value string) { o.Raw(name, string(appendString(nil, value))) }

// Int writes a number.
func (o *Object) Int(name string, value int64) { o.Raw(name, strconv.FormatInt(value, 10)) }

// Bool writes a boolean.
func (o *Object) Bool(name string, value bool) { o.Raw(name, strconv.FormatBool(value)) }

func list[T any](all []T, add func([]byte, T) []byte) string {
	b := []byte{'['}
	for i, v := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = add(b, v)
	}
	return string(append(b, ']'))
}

// appendString quotes as RFC 8259 wants it: the quote, the backslash and
// control characters are escaped, everything else stands for itself.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
