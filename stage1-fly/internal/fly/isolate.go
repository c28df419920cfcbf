// SPDX-License-Identifier: Apache-2.0

package fly

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// redirect makes the streams that the app is not to have /dev/null. What rkt
// itself still has to say goes where it went before.
func (p *pod) redirect() error {
	if p.streams == [3]bool{} {
		return nil
	}
	saved, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("keep standard error: %w", err)
	}
	os.Stderr = os.NewFile(uintptr(saved), os.Stderr.Name())
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/null", Err: err}
	}
	defer func() { _ = unix.Close(null) }()
	for fd, on := range p.streams {
		if !on {
			continue
		}
		if err := unix.Dup3(null, fd, 0); err != nil {
			return fmt.Errorf("redirect descriptor %d: %w", fd, err)
		}
	}
	return nil
}
