// SPDX-License-Identifier: Apache-2.0

// Package ociconv translates docker and OCI images to appc: manifests, configs
// and platforms. It does no I/O.
//
// Words are those of the OCI image specification: an index (docker: manifest list) names manifests by platform,
// a manifest names one config and the layers, base first.
//
//	m, err := ociconv.ParseManifest(data, contentType)
//	c, err := ociconv.ParseConfig(config)
//	layers, err := m.Layers(c)
//	im, warnings, err := ociconv.ImageManifest(c, ociconv.FromReference(ref), layers[len(layers)-1].Digest)
//
// The conversion is deterministic: the same manifest, config and reference
// text give the same image manifest on every machine, except for the labels os
// and arch of an image that does not say them.
//
// Values that would make the image manifest invalid are repaired or dropped,
// each with a warning; they never fail the conversion.
package ociconv
