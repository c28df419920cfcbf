// SPDX-License-Identifier: Apache-2.0

//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Enabled tells whether this binary was built with failpoints.
const Enabled = true

// counter counts how often the armed point was reached in this process.
type counter struct {
	mu sync.Mutex
	n  int
}

var reached counter

// Hit is called directly after the durable step called name. It kills the
// process or returns an error if RKT_FAILPOINT arms that name.
func Hit(name string) error {
	if file := os.Getenv("RKT_FAILPOINT_LOG"); file != "" {
		record(file, name)
	}
	armed, action, ok := strings.Cut(os.Getenv("RKT_FAILPOINT"), "=")
	if !ok || armed != name {
		return nil
	}
	action, at, counted := strings.Cut(action, "@")
	if counted {
		want, err := strconv.Atoi(at)
		if err != nil {
			return fmt.Errorf("failpoint %s: bad count %q", name, at)
		}
		reached.mu.Lock()
		reached.n++
		n := reached.n
		reached.mu.Unlock()
		if n != want {
			return nil
		}
	}
	switch action {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "enospc":
		return fmt.Errorf("failpoint %s: %w", name, syscall.ENOSPC)
	case "eio":
		return fmt.Errorf("failpoint %s: %w", name, syscall.EIO)
	}
	return fmt.Errorf("failpoint %s: unknown action %q", name, action)
}

// Environ returns the variables of the environment that arm failpoints, for
// programs that are started with an environment of their own.
func Environ() (env []string) {
	for _, name := range []string{"RKT_FAILPOINT", "RKT_FAILPOINT_LOG"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func record(file, name string) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return
	}
	_, _ = f.WriteString(name + "\n")
	_ = f.Close()
}
