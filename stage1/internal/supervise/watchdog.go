// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"context"
	"os"
	"strconv"
	"time"
)

// Variables of sd_watchdog_enabled(3).
const (
	watchdogUsec = "WATCHDOG_USEC"
	watchdogPID  = "WATCHDOG_PID"
)

// watchdogPeriod is how often the service manager of the host wants to hear
// from this process, 0 if it does not.
func watchdogPeriod(getenv func(string) string, pid int) time.Duration {
	usec, err := strconv.ParseInt(getenv(watchdogUsec), 10, 64)
	const most = int64(24 * 365 * time.Hour / time.Microsecond)
	if err != nil || usec <= 0 || usec > most {
		return 0
	}
	if p := getenv(watchdogPID); p != "" && p != strconv.Itoa(pid) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}

// watchdog tells the service manager of the host, until the pod has ended, that
// the pod is well: this process is not stuck and the systemd of the pod answers.
// What apps send to their own systemd stays there (ADR 22).
func (s *supervisor) watchdog() {
	period := watchdogPeriod(os.Getenv, os.Getpid())
	if period == 0 {
		return
	}
	// A third to wait, a third at most to get an answer: one may be late.
	pace := period / 3
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(pace):
		}
		if s.well(pace) {
			notifyHost("WATCHDOG=1")
		}
	}
}

// well tells whether the pod answers in time. One that is starting or ending is
// watched over by other timeouts.
func (s *supervisor) well(patience time.Duration) bool {
	s.mu.Lock()
	bus, ending := s.bus, s.ending
	s.mu.Unlock()
	if bus == nil || ending {
		return true
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	return bus.Ping(ctx) == nil
}
