// SPDX-License-Identifier: Apache-2.0

package ociconv

import (
	"mime"
	"slices"
)

// Media types of manifests and indexes.
const (
	DockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	OCIManifest        = "application/vnd.oci.image.manifest.v1+json"
	OCIIndex           = "application/vnd.oci.image.index.v1+json"

	dockerSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"

	dockerConfig = "application/vnd.docker.container.image.v1+json"
	ociConfig    = "application/vnd.oci.image.config.v1+json"
)

// Accept lists what a registry is asked for.
func Accept() []string {
	return []string{OCIManifest, OCIIndex, DockerManifest, DockerManifestList}
}

// IsIndex tells whether a document of this type names other manifests.
func IsIndex(mediaType string) bool {
	t := baseType(mediaType)
	return t == OCIIndex || t == DockerManifestList
}

// IsManifest tells whether a document of this type names a config and layers.
func IsManifest(mediaType string) bool {
	t := baseType(mediaType)
	return t == OCIManifest || t == DockerManifest
}

func isSchema1(mediaType string) bool {
	t := baseType(mediaType)
	return t == dockerSchema1 || t == dockerSchema1Signed
}

func isConfig(mediaType string) bool {
	return mediaType == dockerConfig || mediaType == ociConfig
}

// layerTypes are the layers that can be unpacked; how they are compressed is
// found by looking at them.
func layerTypes() []string {
	return []string{
		"application/vnd.oci.image.layer.v1.tar",
		"application/vnd.oci.image.layer.v1.tar+gzip",
		"application/vnd.oci.image.layer.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar",
		"application/vnd.docker.image.rootfs.diff.tar.gzip",
		"application/vnd.docker.image.rootfs.diff.tar.zstd",
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.docker.image.rootfs.foreign.diff.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	}
}

// IsLayer tells whether a blob of this type can be a layer.
func IsLayer(mediaType string) bool { return slices.Contains(layerTypes(), mediaType) }

// baseType removes the parameters of a Content-Type.
func baseType(mediaType string) string {
	if t, _, err := mime.ParseMediaType(mediaType); err == nil {
		return t
	}
	return mediaType
}

// DockerLayer is the type of layers in archives made by docker: how they are
// compressed is found by looking at them.
const DockerLayer = "application/vnd.docker.image.rootfs.diff.tar"
