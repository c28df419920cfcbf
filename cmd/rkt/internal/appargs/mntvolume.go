// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// BindAdd adds the per-app flags of "app add".
func (p *Parser) BindAdd(flags *pflag.FlagSet) {
	p.bindApp(flags)
	flags.Var(mntVolumeFlag{p}, "mnt-volume",
		"volume of the preceding image alone and where to mount it, syntax: name=NAME,kind=host,source=PATH[,readOnly=BOOL][,recursive=BOOL],target=PATH "+
			"or name=NAME,kind=empty[,readOnly=BOOL][,mode=MODE][,uid=UID][,gid=GID],target=PATH")
}

// mntVolumeFlag is --mnt-volume: a volume of the last image and its mount point.
type mntVolumeFlag struct{ parser *Parser }

func (f mntVolumeFlag) Set(s string) error {
	app := f.parser.last()
	if app == nil {
		return errors.New("an image is required before any MountVolumes")
	}
	m, err := ParseMountVolume(s)
	if err != nil {
		return err
	}
	app.Mounts = append(app.Mounts, m)
	return nil
}

func (f mntVolumeFlag) String() string { return "" }
func (f mntVolumeFlag) Type() string   { return "string" }

// ParseMountVolume parses the value of --mnt-volume, the parameters of --volume
// with name= and target= among them, in any order. As there, values are taken
// literally up to the next comma.
func ParseMountVolume(s string) (appc.Mount, error) {
	var rest []string
	own := map[string]string{}
	for word := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(word, "=")
		if !ok || key != "name" && key != "target" {
			rest = append(rest, word)
			continue
		}
		if _, twice := own[key]; twice {
			return appc.Mount{}, fmt.Errorf("%s= is given twice", key)
		}
		own[key] = value
	}
	if own["target"] == "" {
		return appc.Mount{}, errors.New("missing target= parameter")
	}
	v, err := appc.ParseVolume(strings.Join(append([]string{own["name"]}, rest...), ","))
	if err != nil {
		return appc.Mount{}, err
	}
	m := appc.Mount{Volume: v.Name, Path: own["target"], AppVolume: &v}
	if strings.ContainsRune(m.Path, 0) {
		return appc.Mount{}, errors.New("target has a NUL in it")
	}
	return m, nil
}
