// SPDX-License-Identifier: Apache-2.0

package poddir

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"
)

// MaxAppExit caps the file of an AppExit.
const MaxAppExit = 4 << 10

// AppExit is what stage1 records about the end of an app beside the status
// file, which has the number alone and, for an app that was stopped with its
// pod, says 0. The file is replaced by rename, before the status file, and only
// counts together with it.
type AppExit struct {
	Code       int  // exit status, 0 if the app died of a signal
	Signal     int  // that killed the app, 0 if it exited
	CoreDumped bool // the signal left a core
	OOMKilled  bool // the kernel killed it, or a child, for want of memory
	// Zero times are unknown.
	StartedAt  time.Time
	FinishedAt time.Time
}

// appExit is an AppExit as the file has it.
type appExit struct {
	Code       int   `json:"code"`
	Signal     int   `json:"signal"`
	CoreDumped bool  `json:"coreDumped"`
	OOMKilled  bool  `json:"oomKilled"`
	StartedAt  int64 `json:"startedAt"` // nanoseconds since the epoch, 0 if unknown
	FinishedAt int64 `json:"finishedAt"`
}

// AppExitFile is the file of an app's AppExit below the root of stage1. It
// cannot be the status file of another app, whose name has no dot.
func AppExitFile(app string) string { return filepath.Join(StatusDir, app+".json") }

// Marshal returns the content of the file.
func (e AppExit) Marshal() []byte {
	data, _ := json.Marshal(appExit{ // of numbers and booleans: cannot fail
		Code: e.Code, Signal: e.Signal, CoreDumped: e.CoreDumped, OOMKilled: e.OOMKilled,
		StartedAt: nanoseconds(e.StartedAt), FinishedAt: nanoseconds(e.FinishedAt),
	})
	return append(data, '\n')
}

const (
	maxCode   = 255
	maxSignal = 64
)

// ParseAppExit reads the content of the file. Members it does not know are
// left to later versions.
func ParseAppExit(data []byte) (AppExit, error) {
	if len(data) > MaxAppExit {
		return AppExit{}, fmt.Errorf("exit record is larger than %d bytes", MaxAppExit)
	}
	var e appExit
	if err := json.Unmarshal(data, &e); err != nil {
		return AppExit{}, fmt.Errorf("exit record: %w", err)
	}
	switch {
	case e.Code < 0 || e.Code > maxCode:
		return AppExit{}, fmt.Errorf("exit record: code %d", e.Code)
	case e.Signal < 0 || e.Signal > maxSignal:
		return AppExit{}, fmt.Errorf("exit record: signal %d", e.Signal)
	case e.StartedAt < 0 || e.FinishedAt < 0:
		return AppExit{}, fmt.Errorf("exit record: times %d, %d", e.StartedAt, e.FinishedAt)
	}
	return AppExit{
		Code: e.Code, Signal: e.Signal, CoreDumped: e.CoreDumped, OOMKilled: e.OOMKilled,
		StartedAt: fromNanoseconds(e.StartedAt), FinishedAt: fromNanoseconds(e.FinishedAt),
	}, nil
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanoseconds(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
