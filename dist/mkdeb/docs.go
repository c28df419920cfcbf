// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const docDir = "usr/share/doc/rkt"

// docs adds the copyright, the changelogs, and what lintian is to keep quiet about.
func (b *build) docs() error {
	if err := b.write(docDir+"/copyright", 0o644, []byte(b.copyright())); err != nil {
		return err
	}
	overrides, err := os.ReadFile(filepath.Join(b.scripts, "lintian-overrides"))
	if err != nil {
		return err
	}
	if err := b.write("usr/share/lintian/overrides/rkt", 0o644, overrides); err != nil {
		return err
	}
	changes, err := os.ReadFile(b.changes)
	if err != nil {
		return err
	}
	own := fmt.Sprintf("rkt (%s) unstable; urgency=medium\n\n  * Version %s; its changes are in changelog.gz.\n\n -- %s  %s\n",
		b.debianVersion(), b.version, b.maintainer, b.date().Format(time.RFC1123Z))
	for name, text := range map[string][]byte{"changelog.gz": changes, "changelog.Debian.gz": []byte(own)} {
		packed, err := compress(text)
		if err != nil {
			return err
		}
		if err := b.write(docDir+"/"+name, 0o644, packed); err != nil {
			return err
		}
	}
	return nil
}

// copyright is a machine-readable copyright file. The terms of the parts are
// in a file of their own: there are a hundred of them.
func (b *build) copyright() string {
	year := b.date().Format("2006")
	var list strings.Builder
	for _, p := range b.packages {
		fmt.Fprintf(&list, "  %s %s\n", p.Name, p.Version)
	}
	return `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: rkt
Upstream-Contact: ` + b.maintainer + `
Source: https://github.com/rkt/rkt
Comment: The programs contain Go modules, and the images that end in .aci the
 plugins of containernetworking. Which, and their terms (Apache-2.0, BSD-2-Clause,
 BSD-3-Clause, MIT, MPL-2.0 and the like) are in third-party-licenses.txt.gz next
 to this file, and in sbom.spdx.json.gz.

Files: *
Copyright: ` + year + ` the authors of rkt
License: Apache-2.0

Files: usr/bin/rkt usr/lib/rkt/stage1-images/stage1-coreos.aci
Copyright: ` + year + ` the authors of rkt
 the authors of systemd, of the GNU C library and of other libraries
License: Apache-2.0 and LGPL-2.1+ and others
Comment: stage1-coreos.aci, which is also inside rkt, has unchanged programs and
 libraries of these Debian packages:
 .
` + list.String() + ` .
 systemd is LGPL-2.1+, some of it GPL-2+; the GNU C library is LGPL-2.1+. The
 copyright files of all of them are in the image and in
 third-party-licenses.txt.gz. Their sources are those of the Debian packages of
 these versions, named in the field Built-Using of this package.

License: Apache-2.0
 On Debian systems the text of the licence is in
 /usr/share/common-licenses/Apache-2.0.

License: Apache-2.0 and LGPL-2.1+ and others
 On Debian systems the texts of the licences are in
 /usr/share/common-licenses/Apache-2.0, /usr/share/common-licenses/LGPL-2.1 and
 /usr/share/common-licenses/GPL-2; those of the others in
 third-party-licenses.txt.gz.
`
}

// compressPages compresses the manual pages and large documents of the tree.
func (b *build) compressPages() error {
	for _, dir := range []string{"usr/share/man", docDir} {
		err := filepath.WalkDir(filepath.Join(b.root, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !compressible(dir, e.Name()) {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			packed, err := compress(data)
			if err != nil {
				return err
			}
			if err := os.WriteFile(path+".gz", packed, 0o644); err != nil {
				return err
			}
			return os.Remove(path)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func compressible(dir, name string) bool {
	if dir == docDir {
		return name == "third-party-licenses.txt" || name == "sbom.spdx.json"
	}
	return !strings.HasSuffix(name, ".gz")
}

// compress is gzip -9n.
func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}

func (b *build) write(name string, mode fs.FileMode, data []byte) error {
	path := filepath.Join(b.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, mode)
}
