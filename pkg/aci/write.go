// SPDX-License-Identifier: Apache-2.0

package aci

import (
	"archive/tar"
	"fmt"
	"io"
	"time"
)

// Writer writes an uncompressed archive.
type Writer struct {
	w  io.Writer
	tw *tar.Writer
}

// NewWriter returns a Writer to w, which the caller compresses and closes.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, tw: tar.NewWriter(w)}
}

// WriteManifest adds the manifest: mode 0644, owner root.
func (w *Writer) WriteManifest(raw []byte, mtime time.Time) error {
	hdr := &tar.Header{
		Typeflag: tar.TypeReg, Name: ManifestName, Size: int64(len(raw)),
		Mode: 0o644, Uname: "root", Gname: "root", ModTime: mtime.Truncate(time.Second),
	}
	if err := w.tw.WriteHeader(hdr); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if _, err := w.tw.Write(raw); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

// Add adds an entry below rootfs; data has hdr.Size bytes and may be nil for
// entries without data.
func (w *Writer) Add(hdr *tar.Header, data io.Reader) error {
	if _, err := CleanName(hdr.Name); err != nil {
		return err
	}
	if err := w.tw.WriteHeader(hdr); err != nil {
		return fmt.Errorf("write %q: %w", hdr.Name, err)
	}
	if data == nil {
		return nil
	}
	if _, err := io.Copy(w.tw, data); err != nil {
		return fmt.Errorf("write %q: %w", hdr.Name, err)
	}
	return nil
}

// Close ends the archive and fails if the last entry has too little data.
func (w *Writer) Close() error { return w.tw.Close() }
