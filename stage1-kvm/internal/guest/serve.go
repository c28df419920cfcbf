// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/stage1-kvm/internal/agent"
)

// PortName is the name of the virtio-serial port.
const PortName = "rkt.agent"

// Agent is the second process: it does what the host asks until that is the end.
func Agent([]string) error {
	port, err := openPort()
	if err != nil {
		return err
	}
	s := &server{}
	g := agent.NewGuest(port, s.run)
	p, err := g.Begin()
	if errors.Is(err, agent.ErrOff) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.setUp(p); err != nil {
		g.Fault(err)
		// The host ends the machine; until then the words are on their way.
		time.Sleep(faultPatience)
		return err
	}
	if err := g.Ready(); err != nil {
		return err
	}
	if err := g.Serve(); !errors.Is(err, agent.ErrOff) {
		return err
	}
	return nil
}

// faultPatience is how long the host may take to read why there is no pod.
const faultPatience = 10 * time.Second

// openPort finds the port by its name: its driver may still be at work.
func openPort() (*os.File, error) {
	const patience, pace = 30 * time.Second, time.Millisecond
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(pace) {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil || strings.TrimSpace(string(data)) != PortName {
				continue
			}
			f, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(name)), os.O_RDWR, 0)
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return f, err
			}
		}
	}
	return nil, fmt.Errorf("there is no port %s", PortName)
}
