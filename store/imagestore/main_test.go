// SPDX-License-Identifier: Apache-2.0

package imagestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rkt/rkt/v2/store/imagestore"
	"github.com/rkt/rkt/v2/store/storetest"
)

// childEnv makes the test binary be one of several processes on a store:
// "verb argument".
const childEnv = "IMAGESTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	verb := os.Getenv(childEnv)
	if verb == "" {
		os.Exit(m.Run())
	}
	if err := child(context.Background(), os.Args[1], verb, os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "%s %s: %v\n", verb, os.Args[2], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run starts the test binary as a child.
func run(ctx context.Context, dir, verb, arg string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], dir, arg)
	cmd.Env = append(os.Environ(), childEnv+"="+verb)
	return cmd
}

// child does one command on a store, as rkt would.
func child(ctx context.Context, dir, verb, arg string) (err error) {
	s, err := imagestore.Open(ctx, dir, imagestore.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	n, err := strconv.Atoi(arg)
	if err != nil {
		return err
	}
	switch verb {
	case "aci":
		_, err = s.ImportACI(ctx, bytes.NewReader(numberedACI(n)), imagestore.ImportOptions{
			Remote: &imagestore.Remote{URL: fmt.Sprintf("https://example.com/%d", n)},
		})
	case "oci":
		_, err = storetest.Import(ctx, s, numberedOCI(n))
	case "rm":
		err = s.Remove(ctx, storetest.ID(numberedACI(n)))
		if errors.Is(err, imagestore.ErrNotFound) {
			err = nil
		}
	case "rmoci":
		err = removeNamed(ctx, s, numberedOCI(n))
	case "gc":
		_, err = s.GC(ctx, imagestore.GCOptions{})
	case "export":
		err = s.WriteACI(ctx, storetest.ID(numberedACI(n)), io.Discard)
		if errors.Is(err, imagestore.ErrNotFound) {
			err = nil
		}
	case "list":
		_, err = s.List(ctx)
	default:
		err = errors.New("unknown verb")
	}
	return err
}

func removeNamed(ctx context.Context, s *imagestore.Store, img *storetest.Image) error {
	id, err := s.FindRemovable(img.Manifest.Name, nil)
	if err == nil {
		err = s.Remove(ctx, id)
	}
	if errors.Is(err, imagestore.ErrNotFound) {
		return nil
	}
	return err
}

// fixtures is a testing.TB for fixtures made outside of a test, where Fatal is
// a bug of the test program.
type fixtures struct{ testing.TB }

func (fixtures) Helper()           {}
func (fixtures) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func numberedACI(n int) []byte {
	return storetest.ACI(fixtures{}, storetest.Manifest(fmt.Sprintf("example.com/aci%d", n), "version", "1"),
		storetest.File{Name: "n", Content: strconv.Itoa(n)})
}

// numberedOCI shares its first layer with all others, and its second with
// every other one, in changing order.
func numberedOCI(n int) *storetest.Image {
	layers := [][]byte{
		storetest.Tar(fixtures{}, storetest.File{Name: "base", Content: "base"}),
		storetest.Tar(fixtures{}, storetest.File{Name: fmt.Sprintf("half%d", n%2), Content: "half"}),
		storetest.Tar(fixtures{}, storetest.File{Name: fmt.Sprintf("own%d", n), Content: "own"}),
	}
	if n%3 == 0 {
		layers[0], layers[1] = layers[1], layers[0]
	}
	return storetest.OCI(fixtures{}, fmt.Sprintf("example.com/oci%d", n), layers...)
}
