// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/imagestore"
)

// defaultVersion is told of images without a version label.
const defaultVersion = "latest"

// ociVersion is the version of the OCI image format that the store keeps.
const ociVersion = "1.0"

// ListImages tells of all images that pass a filter, ordered by image ID. Those
// that cannot be read are told as far as they are known.
func (s *Server) ListImages(ctx context.Context, req *v1alpha.ListImagesRequest) (*v1alpha.ListImagesResponse, error) {
	keys, err := s.images.Keys()
	if err != nil {
		return nil, asStatus(err)
	}
	slices.Sort(keys)
	var images []*v1alpha.Image
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, asStatus(err)
		}
		t, err := s.tellImage(ctx, key, req.GetDetail())
		if errors.Is(err, imagestore.ErrNotFound) {
			continue
		}
		if err != nil {
			t = &v1alpha.Image{Id: string(key)}
		}
		if anyImageFilter(t, req.GetFilters()) {
			images = append(images, t)
		}
	}
	return &v1alpha.ListImagesResponse{Images: images}, nil
}

// InspectImage tells everything of one image. An abbreviated ID will do.
func (s *Server) InspectImage(ctx context.Context, req *v1alpha.InspectImageRequest) (*v1alpha.InspectImageResponse, error) {
	key, err := s.images.Resolve(req.GetId())
	var t *v1alpha.Image
	if err == nil {
		t, err = s.tellImage(ctx, key, true)
	}
	switch {
	case errors.Is(err, imagestore.ErrNotFound), errors.Is(err, imagestore.ErrNoMatch):
		return nil, status.Errorf(codes.NotFound, "no such image with ID %q", clip(req.GetId()))
	case errors.Is(err, imagestore.ErrKeyPrefix), errors.Is(err, imagestore.ErrIDTooShort):
		return nil, status.Errorf(codes.InvalidArgument, "invalid image ID %q: %v", clip(req.GetId()), err)
	case err != nil:
		return nil, asStatus(err)
	}
	return &v1alpha.InspectImageResponse{Image: t}, nil
}

func (s *Server) tellImage(ctx context.Context, key appc.ImageID, detail bool) (*v1alpha.Image, error) {
	in, manifest, err := s.images.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	version, _ := in.Labels.Get("version")
	t := &v1alpha.Image{
		BaseFormat: appcFormat(), Id: string(in.ID), Name: string(in.Name), Version: cmp.Or(version, defaultVersion),
		ImportTimestamp: in.ImportTime.Unix(), Size: in.Size,
	}
	if in.Kind == imagestore.OCI {
		t.BaseFormat = &v1alpha.ImageFormat{Type: v1alpha.ImageType_IMAGE_TYPE_OCI, Version: ociVersion}
	}
	var m struct {
		Labels      appc.Labels      `json:"labels"`
		Annotations appc.Annotations `json:"annotations"`
	}
	if in.Err == nil && json.Unmarshal(manifest, &m) == nil {
		t.Annotations = annotations(m.Annotations)
		for _, l := range m.Labels {
			t.Labels = append(t.Labels, &v1alpha.KeyValue{Key: valid(string(l.Name)), Value: valid(l.Value)})
		}
	}
	if detail && in.Err == nil {
		t.Manifest = bytes.TrimSpace(manifest)
	}
	return t, nil
}

func appcFormat() *v1alpha.ImageFormat {
	return &v1alpha.ImageFormat{Type: v1alpha.ImageType_IMAGE_TYPE_APPC, Version: appc.ACVersion}
}
