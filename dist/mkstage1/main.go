// SPDX-License-Identifier: Apache-2.0

// Command mkstage1 makes a stage1 image:
//
//	mkstage1 -flavor coreos -version V -program STAGE1 -net NET -plugins DIR -files dist/stage1 -out FILE.aci
//
// The image has the program under the names of its entrypoints and, for pods
// under systemd, the units and settings of the directory given by -files, the
// network program and the CNI plugins of the directory given by -plugins. The
// flavor coreos also has systemd, systemd-nspawn and their libraries, from the
// Debian packages of the building machine, whose names and versions it
// records; a systemd-nspawn with a known hole is refused. The flavor kvm has that
// and qemu, virtiofsd, a kernel and what is run inside before systemd.
//
// Nothing else of the building machine gets into the image: the same program
// and the same packages give the same bytes. Beside FILE.aci it writes FILE.id
// with the image ID.
package main

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkstage1:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	flavor, version, arch, program, files, out string
	net                                        networks
	machine                                    machine
}

func run(args []string) error {
	var o options
	fs := flag.NewFlagSet("mkstage1", flag.ContinueOnError)
	fs.StringVar(&o.flavor, "flavor", "", "coreos, host, kvm or fly")
	fs.StringVar(&o.version, "version", "", "version label of the image")
	fs.StringVar(&o.arch, "arch", runtime.GOARCH, "architecture in Go's words")
	fs.StringVar(&o.program, "program", "", "the multi-call binary")
	fs.StringVar(&o.net.program, "net", "", "the network program; not for fly")
	fs.StringVar(&o.net.plugins, "plugins", "", "directory with the upstream CNI plugins; not for fly")
	fs.StringVar(&o.files, "files", "", "directory with the static files; not for fly")
	fs.StringVar(&o.machine.program, "kvm", "", "the binary of stage1-kvm; for kvm")
	fs.StringVar(&o.machine.kernel, "kernel", "", "package file linux-image-….deb with the kernel of the guests; for kvm")
	fs.StringVar(&o.out, "out", "", "image file to write")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 || o.version == "" || o.program == "" || !strings.HasSuffix(o.out, ".aci") {
		return errors.New("want -version, -program and -out FILE.aci, and no arguments")
	}
	archive, err := o.build(newDpkg())
	if err != nil {
		return fmt.Errorf("stage1-%s: %w", o.flavor, err)
	}
	return save(o.out, archive)
}

// build returns the archive, not compressed.
func (o options) build(d dpkg) ([]byte, error) {
	f, err := findFlavor(o.flavor)
	if err != nil {
		return nil, err
	}
	body, err := os.ReadFile(o.program)
	if err != nil {
		return nil, err
	}
	t := tree{}
	addReserved(t)
	f.addProgram(t, body)
	if f.systemd {
		if err := f.addSystem(t, o.files, o.version); err != nil {
			return nil, err
		}
	}
	var from sources
	if f.systemd {
		if from.plugins, err = o.net.add(t); err != nil {
			return nil, err
		}
	}
	if f.userSpace {
		u := userSpace{arch: o.arch, dpkg: d}
		if f.machine {
			if u.programs, u.data, err = o.machine.files(); err != nil {
				return nil, err
			}
			kernel, err := o.machine.add(t)
			if err != nil {
				return nil, err
			}
			u.others = append(u.others, kernel)
		}
		if from.packages, err = u.add(t); err != nil {
			return nil, err
		}
	}
	manifest, err := f.manifest(o.version, o.arch, from)
	if err != nil {
		return nil, err
	}
	return t.write(manifest)
}

// window is how far back the compressed archive refers. Each of the CNI plugins
// has Go's runtime in it, and with the usual 8 MiB the others are out of sight:
// 20.8 MB instead of 18.1. More gives 0.1 MB. Reading takes as much memory.
const window = 32 << 20

// save writes the compressed archive and its ID. zstd gives 0.8 MB less than
// gzip, and the first run of a pod reads it in a third of the time.
func save(out string, archive []byte) error {
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window))
	if err != nil {
		return err
	}
	if _, err := z.Write(archive); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	sum := sha512.Sum512(archive)
	id := appc.ImageIDFromSum(sum[:])
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if err := atomicfile.WriteNoSync(out, packed.Bytes(), 0o644); err != nil {
		return err
	}
	return atomicfile.WriteNoSync(strings.TrimSuffix(out, ".aci")+".id", []byte(id.Key()+"\n"), 0o644)
}
