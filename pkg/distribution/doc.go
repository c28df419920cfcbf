// SPDX-License-Identifier: Apache-2.0

// Package distribution understands the ways a user can say where an image
// comes from.
//
// An image string is what the user types: a path, a URL, an image name, a
// registry reference. Parse turns it into a distribution point, the normalised
// form:
//
//	Appc           a name and labels, found in the store or by discovery
//	ACIArchive     the URL of one .aci file (file, http, https)
//	Docker         a registry reference
//	OCILayout      a directory in the OCI image layout
//	OCIArchive     a tar of such a directory
//	DockerArchive  the output of "docker save"
//
// Every point has a cimd URI ("cimd:TYPE:v=0:DATA") which Parse accepts again:
// Parse(p.CIMD()) equals p, and has the same cimd URI. String is the short form for people.
//
// A hash ("sha512-…") names an image of the store and is not a distribution
// point: ask IsHash first.
//
//	p, err := distribution.Parse("docker://busybox")
//	if d, ok := p.(distribution.Docker); ok {
//		fmt.Fprintln(out, d.Host, d.Repository, d.Tag)
//	}
//
// Parse looks at the file system in one case: a string without scheme that
// names an existing regular file is a path. Nothing else here does I/O.
package distribution
