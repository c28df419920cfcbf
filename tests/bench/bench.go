// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// bench is harness.T outside of a test.
type bench struct {
	stop   <-chan struct{} // closed when the user wants an end
	rounds int
	idle   int // number of idle pods
	log    io.Writer
	undo   []func()
}

// stopped is what Fatalf panics with.
type stopped struct{ err error }

// Helper does nothing.
func (b *bench) Helper() {}

// Logf prints progress.
func (b *bench) Logf(format string, args ...any) { _, _ = fmt.Fprintf(b.log, format+"\n", args...) }

// Errorf prints a complaint.
func (b *bench) Errorf(format string, args ...any) { b.Logf("bench: "+format, args...) }

// Fatalf ends the benchmark.
func (b *bench) Fatalf(format string, args ...any) {
	panic(stopped{fmt.Errorf(format, args...)})
}

// Cleanup registers f for the end, last first.
func (b *bench) Cleanup(f func()) { b.undo = append(b.undo, f) }

// TempDir is a new directory that goes away at the end.
func (b *bench) TempDir() string {
	dir, err := os.MkdirTemp("", "rkt-bench-")
	if err != nil {
		b.Fatalf("%v", err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Errorf("%v", err)
		}
	})
	return dir
}

func (b *bench) cleanUp() {
	for _, f := range slices.Backward(b.undo) {
		f()
	}
}

// long is the number of rounds of a measurement that takes seconds.
func (b *bench) long() int { return max(3, b.rounds/10) }

// sample is what one run of a command took.
type sample struct {
	took time.Duration
	rss  int64
}

// timed runs a command that has to succeed.
func (b *bench) timed(cmd *exec.Cmd) sample {
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	start := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatalf("%v", err)
	}
	peak := harness.WatchPeak(cmd)
	ended := make(chan struct{})
	go func() {
		select {
		case <-b.stop:
			_ = cmd.Process.Kill()
		case <-ended:
		}
	}()
	err := cmd.Wait()
	took := time.Since(start)
	close(ended)
	if err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, errOut.String())
	}
	return sample{took: took, rss: peak()}
}

// pairs alternates two measurements and returns the medians.
func pairs(rounds int, one, two func() time.Duration) (a, c time.Duration) {
	var as, cs []time.Duration
	for range rounds {
		as, cs = append(as, one()), append(cs, two())
	}
	return median(as), median(cs)
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// diskUsage is the space that everything below the directories takes, each
// inode once.
func (b *bench) diskUsage(dirs ...string) int64 {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	var sum int64
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			st, ok := info.Sys().(*syscall.Stat_t)
			if !ok || seen[inode{st.Dev, st.Ino}] {
				return nil
			}
			seen[inode{st.Dev, st.Ino}] = true
			sum += st.Blocks * 512
			return nil
		})
		if err != nil {
			b.Fatalf("%v", err)
		}
	}
	return sum
}
