// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// keySize is the size of the key of signatures in bytes.
const keySize = 64

// signer makes and checks signatures of pods.
type signer struct{ key [keySize]byte }

// loadSigner reads the key, or makes one. The caller holds the service's lock.
func loadSigner(path string) (*signer, error) {
	var s signer
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		_, _ = rand.Read(s.key[:]) // never fails: crypto/rand aborts the program instead
		return &s, atomicfile.Write(path, s.key[:], 0o600)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }()
	if err := checkSecret(f); err != nil {
		return nil, hint.With(err, "remove the file: signatures made so far will not verify any more")
	}
	data, err := io.ReadAll(io.LimitReader(f, keySize+1))
	if err != nil {
		return nil, err
	}
	if len(data) != keySize {
		return nil, hint.With(fmt.Errorf("%s: not a key of %d bytes", path, keySize),
			"remove the file: signatures made so far will not verify any more")
	}
	s.key = [keySize]byte(data)
	return &s, nil
}

// sign is HMAC-SHA512 over the 16 bytes of the UUID and the content.
func (s *signer) sign(uuid poddir.UUID, content string) []byte {
	raw, _ := hex.DecodeString(uuid.MachineID()) // a UUID is hex
	mac := hmac.New(sha512.New, s.key[:])
	mac.Write(raw)
	_, _ = io.WriteString(mac, content) // a hash does not fail
	return mac.Sum(nil)
}

// verify tells whether the pod has signed the content. It takes the same time
// whatever the signature is.
func (s *signer) verify(uuid poddir.UUID, content string, signature []byte) bool {
	return hmac.Equal(s.sign(uuid, content), signature)
}
