// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// kernelPackage is what a package linux-image-… has.
type kernelPackage struct {
	pkg     debianPackage
	image   []byte            // boot/vmlinuz-…
	licence []byte            // usr/share/doc/…/copyright
	modules map[string]module // by name, with underscores
}

// module is a loadable module.
type module struct {
	file string // name of the file
	body []byte
}

// readKernel reads a package file with dpkg-deb.
func readKernel(file string) (*kernelPackage, error) {
	out, err := exec.Command("dpkg-deb", "--show", "--showformat=${Package}\t${Version}", "--", file).Output()
	if err != nil {
		return nil, fmt.Errorf("dpkg-deb: %w", err)
	}
	k := &kernelPackage{modules: map[string]module{}}
	var ok bool
	if k.pkg.name, k.pkg.version, ok = strings.Cut(strings.TrimSpace(string(out)), "\t"); !ok {
		return nil, fmt.Errorf("dpkg-deb says %q", out)
	}
	cmd := exec.Command("dpkg-deb", "--fsys-tarfile", "--", file)
	r, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("dpkg-deb: %w", err)
	}
	err = k.read(tar.NewReader(r))
	_, _ = io.Copy(io.Discard, r)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return nil, err
	}
	if k.image == nil || k.licence == nil {
		return nil, errors.New("there is no kernel in it")
	}
	return k, nil
}

func (k *kernelPackage) read(r *tar.Reader) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		name := path.Clean("/" + h.Name)
		base := path.Base(name)
		ko, isModule := strings.CutSuffix(base, ".ko")
		isImage, isLicence := strings.HasPrefix(name, "/boot/vmlinuz-"), name == "/usr/share/doc/"+k.pkg.name+"/copyright"
		if !isModule && !isImage && !isLicence {
			continue
		}
		body, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		switch {
		case isImage:
			k.image = body
		case isLicence:
			k.licence = body
		default:
			k.modules[strings.ReplaceAll(ko, "-", "_")] = module{base, body}
		}
	}
}

// ordered are modules with those that they need, these first.
func (k *kernelPackage) ordered(names []string) (list []module, err error) {
	done := map[string]bool{}
	var load func(name string) error
	load = func(name string) error {
		if done[name] {
			return nil
		}
		done[name] = true
		m, ok := k.modules[name]
		if !ok {
			return fmt.Errorf("the kernel has no module %s", name)
		}
		needs, err := m.needs()
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, n := range needs {
			if err := load(n); err != nil {
				return err
			}
		}
		list = append(list, m)
		return nil
	}
	for _, name := range slices.Sorted(slices.Values(names)) {
		if err := load(name); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// needs reads which modules a module needs (section .modinfo: strings key=value).
func (m module) needs() ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for kv := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(kv, "depends="); ok && list != "" {
			return strings.Split(strings.ReplaceAll(list, "-", "_"), ","), nil
		}
	}
	return nil, nil
}
