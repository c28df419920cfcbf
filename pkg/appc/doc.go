// SPDX-License-Identifier: Apache-2.0

// Package appc has the types of the App Container specification: image and pod
// manifests and what they are made of, with parsers, validation and the
// canonical JSON form. It imports nothing of this project and may be used by
// other programs.
//
// # Words
//
// An image manifest describes an image (an ACI); a pod manifest describes a
// pod: runtime apps, volumes, ports. An [ImageID] is "sha512-" and the digest of the
// uncompressed archive; its key is the first half of that. An AC identifier
// names images, labels, annotations and isolators; an AC name names apps, volumes,
// mount points and ports. An isolator is a named limit whose value is kept
// verbatim. A quantity is an amount such as "64Mi" or "500m".
//
// # Invariants
//
// ParseImageManifest and ParsePodManifest return validated manifests only;
// faults are of type *[Error], which knows the JSON path (app.isolators[2].value), line and column.
// Unknown JSON keys are ignored. Isolators with names this package does
// not know are valid and kept verbatim; [Isolators.Unknown] lists them for those
// who must refuse to run what they cannot enforce. Manifests larger than
// [MaxManifestSize] or nested deeper than [MaxDepth] are refused.
//
// Marshal writes compact JSON with a fixed key order. The difference between
// an absent list (null) and an empty one ([]) of a pod manifest is kept, so
// parsing and marshalling a manifest in canonical form yields the same bytes.
//
//	m, err := appc.ParseImageManifest(data)
//	if err != nil {
//		return fmt.Errorf("image manifest: %w", err)
//	}
//	arch, ok := m.Labels.Get("arch")
package appc
