// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/lock"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

// userRange is the range of host IDs of a pod's user namespace; the zero value
// means none.
type userRange struct{ shift, count uint32 }

const (
	rangeSize     = 1 << 16
	maxRange      = 0x7FFF // ranges are numbered from 1
	rangeAttempts = 1000
	usersLock     = "privateUsersLock" // key in DATA/locks, exclusive while a range is chosen
)

func (r userRange) String() string { return fmt.Sprintf("%d:%d", r.shift, r.count) }

func parseUserRange(s string) (userRange, error) {
	if s == "" {
		return userRange{}, nil
	}
	a, b, ok := strings.Cut(s, ":")
	shift, err1 := strconv.ParseUint(a, 10, 32)
	count, err2 := strconv.ParseUint(b, 10, 32)
	if !ok || err1 != nil || err2 != nil || count == 0 || shift+count > 1<<32-1 {
		return userRange{}, fmt.Errorf("invalid user range %q", s)
	}
	return userRange{uint32(shift), uint32(count)}, nil
}

// allocateUsers chooses a range that no other pod has and records it with p.
func allocateUsers(ctx context.Context, p *pod.Pod) (userRange, error) {
	l, err := lock.Key(ctx, filepath.Join(p.DataDir(), poddir.Locks), usersLock, lock.Exclusive)
	if err != nil {
		return userRange{}, fmt.Errorf("allocate user range: %w", err)
	}
	defer func() { _ = l.Close() }()
	used := map[uint32]bool{}
	err = pod.Walk(ctx, p.DataDir(), pod.ListedDirs(), func(string) {}, func(o *pod.Pod) error {
		s, err := o.PrivateUsers()
		if err != nil {
			return err
		}
		r, err := parseUserRange(s)
		used[r.shift] = true
		return err
	})
	if err != nil {
		return userRange{}, fmt.Errorf("user ranges of other pods: %w", err)
	}
	r, err := chooseRange(used)
	if err != nil {
		return userRange{}, err
	}
	path := filepath.Join(p.Path(), poddir.PrivateUsersPrepared)
	if err := os.WriteFile(path, []byte(r.String()), 0o640); err != nil {
		return userRange{}, err
	}
	return r, nil
}

func chooseRange(used map[uint32]bool) (userRange, error) {
	for range rangeAttempts {
		var b [2]byte
		_, _ = rand.Read(b[:])
		n := uint32(binary.LittleEndian.Uint16(b[:]) & maxRange)
		shift := n * rangeSize
		if n != 0 && !used[shift] {
			return userRange{shift, rangeSize}, nil
		}
	}
	return userRange{}, errors.New("no free user range")
}
