// SPDX-License-Identifier: Apache-2.0

package tpm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/tpm"
	"github.com/rkt/rkt/v2/tests/harness"
)

const pcr = 15

func measurer(t *testing.T, device string) tpm.Measurer {
	t.Helper()
	return tpm.Measurer{Device: device, PCR: pcr, Log: filepath.Join(t.TempDir(), "rkt", "tpm-events")}
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func measure(t *testing.T, m tpm.Measurer, text string) {
	t.Helper()
	if err := m.Measure(patient(t), tpm.Event{Pod: "p", Text: text}); err != nil {
		t.Fatal(err)
	}
}

// raw does something to the TPM without the log.
func raw(t *testing.T, m tpm.Measurer, do func(*tpm.Device) error) {
	t.Helper()
	d, err := tpm.Open(m.Device, time.Now().Add(time.Minute))
	if err == nil {
		err = errors.Join(do(d), d.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func texts(t *testing.T, m tpm.Measurer) (all []string) {
	t.Helper()
	err := tpm.ReadLog(m.Log, func(r *tpm.Record) error {
		all = append(all, fmt.Sprint(r.Number, " ", r.Content.String))
		return nil
	}, func(error) { all = append(all, "damaged") })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLogExplainsPCR(t *testing.T) {
	m := measurer(t, harness.TPM(t))
	if r, err := m.Verify(patient(t)); err != nil || r.Records != 0 || r.Start != (tpm.Digest{}) {
		t.Errorf("without a log: %+v, %v", r, err)
	}
	want := []string{"0 one <&> \"", "1 two\n\x1e\ufffd", "2 " + strings.Repeat("x", 1<<20)}
	measure(t, m, "one <&> \"")
	measure(t, m, "two\n\x1e\xff")
	measure(t, m, strings.Repeat("x", 1<<20))
	if got := texts(t, m); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%.300q", got)
	}
	r, err := m.Verify(patient(t))
	if err != nil || r.Records != 3 || r.Unextended != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if st, err := os.Stat(m.Log); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	other := m
	other.PCR = 14
	if r, err := other.Verify(patient(t)); err != nil || r.Records != 0 {
		t.Errorf("another PCR: %+v, %v", r, err)
	}
}

func TestManyMeasureAtOnce(t *testing.T) {
	m := measurer(t, harness.TPM(t))
	ctx := patient(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := m.Measure(ctx, tpm.Event{Text: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if r, err := m.Verify(ctx); err != nil || r.Records != 8 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTamperedLogs(t *testing.T) {
	m := measurer(t, harness.TPM(t))
	for _, text := range []string{"one", "two", "three"} {
		measure(t, m, text)
	}
	data, err := os.ReadFile(m.Log)
	if err != nil {
		t.Fatal(err)
	}
	records := bytes.SplitAfter(data, []byte("\n"))
	for name, log := range map[string][]byte{
		"changed":      bytes.Replace(data, []byte(`"two"`), []byte(`"six"`), 1),
		"middle gone":  bytes.Join([][]byte{records[0], records[2]}, nil),
		"end gone":     bytes.Join(records[:2], nil),
		"order":        bytes.Join([][]byte{records[1], records[0], records[2]}, nil),
		"last cut off": data[:len(data)-1],
	} {
		if err := os.WriteFile(m.Log, log, 0o600); err != nil {
			t.Fatal(err)
		}
		var gap *tpm.Gap
		if r, err := m.Verify(patient(t)); !errors.As(err, &gap) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if err := os.WriteFile(m.Log, bytes.Join([][]byte{data, records[2]}, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := m.Verify(patient(t)); err != nil || r.Unextended != 1 { // as a crash leaves it
		t.Errorf("one that was not measured: %+v, %v", r, err)
	}
	if err := os.WriteFile(m.Log, bytes.Join(records[1:], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := m.Verify(patient(t)); err != nil || r.Start == (tpm.Digest{}) {
		t.Errorf("without the beginning: %+v, %v", r, err)
	}
}

func TestOthersExtend(t *testing.T) {
	m := measurer(t, harness.TPM(t))
	raw(t, m, func(d *tpm.Device) error { return d.Extend(pcr, tpm.Digest{1}) })
	measure(t, m, "one")
	if r, err := m.Verify(patient(t)); err != nil || r.Start == (tpm.Digest{}) {
		t.Errorf("before: %+v, %v", r, err)
	}
	raw(t, m, func(d *tpm.Device) error { return d.Extend(pcr, tpm.Digest{2}) })
	measure(t, m, "two")
	var gap *tpm.Gap
	if _, err := m.Verify(patient(t)); !errors.As(err, &gap) || gap.After.Content.String != "one" {
		t.Errorf("between: %v", err)
	}
}

// TestCrashes: a log as a crash leaves it in the midst of a record.
func TestCrashes(t *testing.T) {
	m := measurer(t, harness.TPM(t))
	measure(t, m, "one")
	data, err := os.ReadFile(m.Log)
	if err != nil {
		t.Fatal(err)
	}
	torn := append(data, data[:len(data)/2]...)
	if err := os.WriteFile(m.Log, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	measure(t, m, "two")
	if got := strings.Join(texts(t, m), "|"); got != "0 one|damaged|1 two" {
		t.Errorf("%q", got)
	}
	if r, err := m.Verify(patient(t)); err != nil || r.Records != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestFailures: no TPM, one that hangs at every step, one that talks nonsense.
func TestFailures(t *testing.T) {
	m := measurer(t, filepath.Join(t.TempDir(), "none"))
	if err := m.Measure(patient(t), tpm.Event{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	if err := os.WriteFile(m.Device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Measure(patient(t), tpm.Event{}); err == nil || !strings.Contains(err.Error(), "neither a device nor a socket") {
		t.Errorf("a file: %v", err)
	}
	sound := harness.TPM(t)
	for name, answer := range map[string]func(n int, c, tpm net.Conn){
		"hangs at once":  func(int, net.Conn, net.Conn) {},
		"hangs later":    func(n int, c, tpm net.Conn) { pass(c, tpm, n == 0) },
		"hangs up":       func(_ int, c, _ net.Conn) { _ = c.Close() },
		"too long":       func(_ int, c, _ net.Conn) { _, _ = c.Write(bytes.Repeat([]byte{0xff}, 100)) },
		"says a failure": func(_ int, c, _ net.Conn) { _, _ = c.Write([]byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			m := measurer(t, between(t, sound, answer))
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			began := time.Now()
			err := m.Measure(ctx, tpm.Event{Text: "x"})
			if took := time.Since(began); err == nil || took > 5*time.Second {
				t.Errorf("%v after %s", err, took)
			}
			direct := m
			direct.Device = sound
			if !harness.WaitFor(10*time.Second, func() bool { _, err = direct.Verify(patient(t)); return err == nil }) {
				t.Errorf("the log is not what the PCR says: %v", err)
			}
		})
	}
}

func pass(c, tpm net.Conn, do bool) {
	if !do {
		return
	}
	buf := make([]byte, 4096)
	if n, err := tpm.Read(buf); err == nil {
		_, _ = c.Write(buf[:n])
	}
}

// between listens before a TPM and answers in its place.
func between(t *testing.T, sound string, answer func(n int, c, tpm net.Conn)) string {
	t.Helper()
	sock := filepath.Join(filepath.Dir(sound), strings.ReplaceAll(filepath.Base(t.Name()), "_", "-"))
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		dev, err := net.Dial("unix", sound)
		if err != nil {
			return
		}
		defer func() { _ = dev.Close() }()
		buf := make([]byte, 4096)
		for n := 0; ; n++ {
			m, err := c.Read(buf)
			if err != nil {
				return
			}
			if _, err := dev.Write(buf[:m]); err != nil {
				return
			}
			answer(n, c, dev)
		}
	}()
	return sock
}

// FuzzLog: whatever is in a log, it is read to its end, and what is passed on
// can be replayed.
func FuzzLog(f *testing.F) {
	f.Add([]byte("\x1e{}\n"))
	f.Add([]byte("\x1e" + `{"recnum":0,"pcr":15,"digests":[{"hashAlg":"sha256","digest":"2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806"}],"content_type":"rkt","content":{"string":"a","pod":"","time":"","bootId":"b","pcrBefore":"` + strings.Repeat("00", 32) + `"}}` + "\n"))
	path := filepath.Join(f.TempDir(), "log")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		replay := tpm.Replay{BootID: "b", PCR: pcr}
		n := 0
		err := tpm.ReadLog(path, func(r *tpm.Record) error { n++; return replay.Add(r) }, func(error) { n++ })
		if n > len(data) || err == nil && replay.Records > n {
			t.Errorf("%d records of %d bytes: %v", n, len(data), err)
		}
	})
}
