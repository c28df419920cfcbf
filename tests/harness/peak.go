// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// WatchPeak looks at the peak resident memory of a started command every few
// milliseconds until peak is called. The
// resource usage of wait4(2) does not serve: it starts with what the parent had
// at the fork.
func WatchPeak(cmd *exec.Cmd) (peak func() int64) {
	quit, done := make(chan struct{}), make(chan int64)
	go func() {
		var highest int64
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			highest = max(highest, highWater(cmd.Process.Pid))
			select {
			case <-quit:
				done <- highest
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 {
		close(quit)
		return <-done
	}
}

// highWater reads VmHWM of proc_pid_status(5), 0 if the process has ended.
func highWater(pid int) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb * 1024
		}
	}
	return 0
}
