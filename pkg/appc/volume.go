// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
)

// Kinds of volumes.
const (
	HostVolume  = "host"
	EmptyVolume = "empty"
)

// DefaultVolumeMode is the mode of an empty volume that names none.
const DefaultVolumeMode = "0755"

// Volume is the host's side of a mount. Source, ReadOnly and Recursive belong
// to host volumes; Mode, UID and GID to empty ones (which may be read-only too).
type Volume struct {
	Name      Name    `json:"name"`
	Kind      string  `json:"kind"`
	Source    string  `json:"source,omitempty"`
	ReadOnly  *bool   `json:"readOnly,omitempty"`
	Recursive *bool   `json:"recursive,omitempty"`
	Mode      *string `json:"mode,omitempty"`
	UID       *int    `json:"uid,omitempty"`
	GID       *int    `json:"gid,omitempty"`
}

// Perm returns the mode of an empty volume, the default one if none is set:
// permission bits and, as fs.FileMode has them, setuid, setgid and sticky.
func (v Volume) Perm() (fs.FileMode, error) {
	text := DefaultVolumeMode
	if v.Mode != nil {
		text = *v.Mode
	}
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o7777 {
		return 0, fmt.Errorf("volume mode %q is not an octal number up to 07777", text)
	}
	mode := fs.FileMode(n & 0o777)
	if n&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if n&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if n&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode, nil
}

// Owner returns the owner of an empty volume, 0 and 0 if none is set.
func (v Volume) Owner() (uid, gid int) {
	if v.UID != nil {
		uid = *v.UID
	}
	if v.GID != nil {
		gid = *v.GID
	}
	return uid, gid
}

// ParseVolume parses the value of --volume:
//
//	NAME,kind=host,source=PATH[,readOnly=BOOL][,recursive=BOOL]
//	NAME,kind=empty[,readOnly=BOOL][,mode=0755][,uid=0][,gid=0]
//
// Values are taken literally up to the next comma. Mode and owner of an empty
// volume are set in the result even if s has none. Errors do not repeat s.
func ParseVolume(s string) (Volume, error) {
	name, rest, more := strings.Cut(s, ",")
	if name == "" {
		return Volume{}, errors.New("name must be set")
	}
	params := parameters{"name": {name}}
	if more {
		for p := range strings.SplitSeq(rest, ",") {
			key, value, ok := strings.Cut(p, "=")
			if !ok {
				return Volume{}, fmt.Errorf("volume parameter %q has no value", p)
			}
			params[key] = append(params[key], value)
		}
	}
	v, err := params.volume()
	if err != nil {
		return Volume{}, err
	}
	v.setDefaults()
	return v, nil
}

// setDefaults makes mode and owner of an empty volume explicit.
func (v *Volume) setDefaults() {
	if v.Kind != EmptyVolume {
		return
	}
	mode, uid, gid := DefaultVolumeMode, 0, 0
	if v.Mode == nil {
		v.Mode = &mode
	}
	if v.UID == nil {
		v.UID = &uid
	}
	if v.GID == nil {
		v.GID = &gid
	}
}

func (v Volume) validate() error {
	if err := v.Name.validate(); err != nil {
		return at("name", err)
	}
	switch v.Kind {
	case HostVolume:
		return v.validateHost()
	case EmptyVolume:
		return v.validateEmpty()
	}
	return at("kind", errors.New(`unrecognized volume kind: should be one of "empty", "host"`))
}

func (v Volume) validateHost() error {
	switch {
	case v.Source == "":
		return at("source", errors.New("source for host volume cannot be empty"))
	case !strings.HasPrefix(v.Source, "/"):
		return at("source", errors.New("source for host volume must be absolute path"))
	case v.Mode != nil:
		return at("mode", errors.New("mode for host volume cannot be set"))
	case v.UID != nil:
		return at("uid", errors.New("uid for host volume cannot be set"))
	case v.GID != nil:
		return at("gid", errors.New("gid for host volume cannot be set"))
	}
	return at("source", validateWord(v.Source))
}

func (v Volume) validateEmpty() error {
	if v.Source != "" {
		return at("source", errors.New("source for empty volume must be empty"))
	}
	if _, err := v.Perm(); err != nil {
		return at("mode", err)
	}
	uid, gid := v.Owner()
	if err := validateID(uid); err != nil {
		return at("uid", err)
	}
	return at("gid", validateID(gid))
}

func validateID(id int) error {
	if id < 0 || int64(id) >= math.MaxUint32 {
		return fmt.Errorf("ID %d is out of range", id)
	}
	return nil
}

func validateVolumes(volumes []Volume) error {
	seen := make(map[Name]bool, len(volumes))
	for i, v := range volumes {
		if err := v.validate(); err != nil {
			return at(index(i), err)
		}
		if seen[v.Name] {
			return at(index(i), at("name", fmt.Errorf("duplicate volume name %q", v.Name)))
		}
		seen[v.Name] = true
	}
	return nil
}
