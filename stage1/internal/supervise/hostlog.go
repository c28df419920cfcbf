// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"os"
	"time"

	"github.com/rkt/rkt/v2/pkg/journal"
)

const (
	// hostPatience is how long the journal of the host may take over one line.
	hostPatience = 5 * time.Second
	// hostPause is how long it is left alone when it has failed.
	hostPause = 10 * time.Second
)

// hostLog hands the lines of apps to the journal of the host, each as an entry
// that tells the pod and the app. It is used where rkt's standard output is the
// journal anyway, by one goroutine at a time.
type hostLog struct {
	sender *journal.Sender
	uuid   []byte
	after  time.Time // not to be tried before
	now    func() time.Time
}

// openHostLog returns nil where standard output is something else.
func openHostLog(uuid string) *hostLog {
	if !journal.IsStream(os.Stdout, os.Getenv(journal.StreamEnv)) {
		return nil
	}
	return &hostLog{sender: journal.NewSender(journal.NativeSocket, hostPatience), uuid: []byte(uuid), now: time.Now}
}

// line hands over one line and tells whether it was taken. If not, it is up to
// the caller: standard output leads to the same journal by another way.
func (h *hostLog) line(app, stream string, text []byte) bool {
	if h == nil || h.now().Before(h.after) {
		return false
	}
	err := h.sender.Send(
		journal.Field{Name: "MESSAGE", Value: text},
		journal.Field{Name: "PRIORITY", Value: []byte("6")}, // as journald does for both streams
		journal.Field{Name: "SYSLOG_IDENTIFIER", Value: []byte(app)},
		journal.Field{Name: "RKT_POD_UUID", Value: h.uuid},
		journal.Field{Name: "RKT_APP", Value: []byte(app)},
		journal.Field{Name: "RKT_STREAM", Value: []byte(stream)},
	)
	if err != nil {
		h.after = h.now().Add(hostPause)
	}
	return err == nil
}

func (h *hostLog) close() {
	if h != nil {
		h.sender.Close()
	}
}
