// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rkt/rkt/v2/pkg/api/v1alpha"
	"github.com/rkt/rkt/v2/pkg/journal"
	"github.com/rkt/rkt/v2/pkg/pod"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

const (
	// logPoll is how often the journal of a pod that is followed is looked at:
	// watching misses what is written through an overlay mount.
	logPoll = 200 * time.Millisecond
	// maxChunk is how much of a log goes into one message, maxTail how much of
	// it the lines that were asked for can be.
	maxChunk = 1 << 20
	maxTail  = 16 << 20
)

// GetLogs sends the lines that the apps of a pod have written.
func (s *Server) GetLogs(req *v1alpha.GetLogsRequest, stream v1alpha.PublicAPI_GetLogsServer) error {
	if req.GetLines() < 0 {
		return status.Error(codes.InvalidArgument, "lines must not be negative")
	}
	release, err := s.takeStream()
	if err != nil {
		return err
	}
	defer release()
	ctx := stream.Context()
	p, err := s.openPod(ctx, req.GetPodId())
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	dir, err := openJournal(p)
	if errors.Is(err, fs.ErrNotExist) {
		return status.Errorf(codes.FailedPrecondition, "logging unsupported for pod %q", req.GetPodId())
	}
	if err != nil {
		return asStatus(err)
	}
	defer func() { _ = dir.Close() }()
	l := &logStream{req: req, reader: journal.NewReader(dir), send: stream.Send, tail: int(req.GetLines())}
	if err := l.run(ctx, p); err != nil {
		return asStatus(err)
	}
	return nil
}

func openJournal(p *pod.Pod) (*os.File, error) {
	s1, err := p.ReadableStage1()
	if err != nil {
		return nil, err
	}
	return p.OpenDir(filepath.Join(s1, poddir.JournalDir, p.UUID().MachineID()))
}

// logStream is one answer to GetLogs.
type logStream struct {
	req    *v1alpha.GetLogsRequest
	reader *journal.Reader
	send   func(*v1alpha.GetLogsResponse) error

	tail  int // keep only so many lines in this round; 0: all
	lines []string
	size  int
}

func (l *logStream) run(ctx context.Context, p *pod.Pod) error {
	tick := time.NewTicker(logPoll)
	defer tick.Stop()
	for {
		// In this order: what is there when the pod has ended is all.
		if err := p.Refresh(); err != nil {
			return err
		}
		if err := l.round(ctx); err != nil {
			return err
		}
		late := l.req.GetUntilTime() > 0 && time.Now().Unix() > l.req.GetUntilTime()
		if !l.req.GetFollow() || p.State() != pod.Running || late {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// round sends what is new.
func (l *logStream) round(ctx context.Context) error {
	if err := l.reader.Next(func(line journal.Line) error { return l.add(ctx, line) }); err != nil {
		return err
	}
	l.tail = 0
	return l.flush()
}

func (l *logStream) add(ctx context.Context, line journal.Line) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at := line.Time.Unix()
	switch {
	case len(line.Message) == 0,
		l.req.GetAppName() != "" && l.req.GetAppName() != line.App,
		l.req.GetSinceTime() > 0 && at < l.req.GetSinceTime(),
		l.req.GetUntilTime() > 0 && at > l.req.GetUntilTime():
		return nil
	}
	text := line.Time.String() + " " + valid(string(line.Message))
	l.lines, l.size = append(l.lines, text), l.size+len(text)
	if l.tail > 0 {
		for len(l.lines) > l.tail || l.size > maxTail {
			l.size -= len(l.lines[0])
			l.lines = l.lines[1:]
		}
		return nil
	}
	if l.size >= maxChunk {
		return l.flush()
	}
	return nil
}

// flush sends what is kept, in messages of a size that clients accept.
func (l *logStream) flush() error {
	for len(l.lines) > 0 {
		n, size := 0, 0
		for n < len(l.lines) && (n == 0 || size+len(l.lines[n]) <= maxChunk) {
			size += len(l.lines[n])
			n++
		}
		if err := l.send(&v1alpha.GetLogsResponse{Lines: l.lines[:n]}); err != nil {
			return err
		}
		l.lines = l.lines[n:]
	}
	l.lines, l.size = nil, 0
	return nil
}
