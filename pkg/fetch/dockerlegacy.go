// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// describeLayer finds out the digest of a layer file. Docker saves them plain,
// then it is the diffID; the store verifies both while it unpacks.
func describeLayer(ctx context.Context, tree fileTree, name, diffID string) (ociconv.Descriptor, error) {
	f, err := tree.open(name)
	if err != nil {
		return ociconv.Descriptor{}, err
	}
	defer f.Close()
	d := ociconv.Descriptor{MediaType: ociconv.DockerLayer, Digest: diffID, Size: f.Size()}
	kind, err := sniff(f)
	if err != nil || kind == compression.None {
		return d, err
	}
	sum, err := hashOf(ctx, f)
	if err != nil {
		return d, err
	}
	d.Digest = sum
	return d, nil
}

// sniff leaves f at its beginning.
func sniff(f content) (compression.Type, error) {
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return compression.None, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return compression.Detect(head[:n]), err
}

func hashOf(ctx context.Context, r io.Reader) (string, error) {
	h := sha256.New()
	buffer := make([]byte, copyBuffer)
	if _, err := io.CopyBuffer(h, until(ctx, r), buffer); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// findLegacy reads the form of docker before 1.10: "repositories" names the
// top layer of each tag, each layer has its own config and names its parent.
func (a *dockerArchive) findLegacy(ctx context.Context) (*importImage, error) {
	names, tops, err := readRepositories(a.tree)
	if err != nil {
		return nil, err
	}
	n, err := a.selectImage(names)
	if err != nil {
		return nil, err
	}
	config, layers, err := a.legacyChain(ctx, tops[n])
	if err != nil {
		return nil, err
	}
	i, err := a.synthesize(ctx, config, layers)
	if err != nil {
		return nil, err
	}
	i.origin = a.origin(names[n])
	return i, nil
}

func readRepositories(tree fileTree) (names [][]string, tops []string, err error) {
	data, err := readFile(tree, "repositories", ociconv.MaxManifest)
	if err != nil {
		return nil, nil, err
	}
	var repositories map[string]map[string]string
	if err := json.Unmarshal(data, &repositories); err != nil {
		return nil, nil, fmt.Errorf("repositories: %w", err)
	}
	for _, repo := range slices.Sorted(maps.Keys(repositories)) {
		for _, tag := range slices.Sorted(maps.Keys(repositories[repo])) {
			names = append(names, []string{repo + ":" + tag})
			tops = append(tops, repositories[repo][tag])
		}
	}
	return names, tops, nil
}

var layerID = regexp.MustCompile(`^(\w+:)?([A-Fa-f0-9]+)$`)

// legacyChain follows the parents from the top layer and makes one config of
// what the layers say.
func (a *dockerArchive) legacyChain(ctx context.Context, top string) (config []byte, layers []string, err error) {
	var topConfig []byte
	var diffIDs []string
	seen := map[string]bool{}
	for id := top; id != ""; {
		if !layerID.MatchString(id) {
			return nil, nil, fmt.Errorf("invalid layer ID %q", id)
		}
		if seen[id] {
			return nil, nil, fmt.Errorf("dependency loop detected at image %q", id)
		}
		seen[id] = true
		if len(layers) == maxLegacyChain {
			return nil, nil, fmt.Errorf("image has more than %d layers", maxLegacyChain)
		}
		data, err := readFile(a.tree, id+"/json", ociconv.MaxConfig)
		if err != nil {
			return nil, nil, fmt.Errorf("layer %s: %w", id, err)
		}
		var v struct {
			Parent string `json:"parent"`
		}
		if err := json.Unmarshal(data, &v); err != nil {
			return nil, nil, fmt.Errorf("layer %s: %w", id, err)
		}
		if topConfig == nil {
			topConfig = data
		}
		name := id + "/layer.tar"
		diffID, err := a.diffID(ctx, name)
		if err != nil {
			return nil, nil, fmt.Errorf("layer %s: %w", id, err)
		}
		layers, diffIDs = append(layers, name), append(diffIDs, diffID)
		id = v.Parent
	}
	if len(layers) == 0 {
		return nil, nil, ociconv.ErrNoLayers
	}
	slices.Reverse(layers)
	slices.Reverse(diffIDs)
	config, err = ociconv.NewConfig(topConfig, diffIDs)
	return config, layers, err
}

// diffID is the digest of a layer's uncompressed content.
func (a *dockerArchive) diffID(ctx context.Context, name string) (string, error) {
	f, err := a.tree.open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	kind, err := sniff(f)
	if err != nil {
		return "", err
	}
	if kind == compression.None {
		return hashOf(ctx, f)
	}
	in, _, err := compression.NewReader(f)
	if err != nil {
		return "", err
	}
	defer in.Close()
	return hashOf(ctx, io.LimitReader(in, maxArchive))
}
