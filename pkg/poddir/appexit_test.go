// SPDX-License-Identifier: Apache-2.0

package poddir

import (
	"strings"
	"testing"
	"time"
)

func TestAppExit(t *testing.T) {
	e := AppExit{Signal: 9, CoreDumped: true, OOMKilled: true, StartedAt: time.Unix(1, 2), FinishedAt: time.Unix(3, 4)}
	const want = `{"code":0,"signal":9,"coreDumped":true,"oomKilled":true,"startedAt":1000000002,"finishedAt":3000000004}` + "\n"
	if got := string(e.Marshal()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, err := ParseAppExit([]byte(want)); err != nil || got != e {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ParseAppExit([]byte(`{"code":203,"later":[]}`)); err != nil || got != (AppExit{Code: 203}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got := AppExitFile("web"); got != "rkt/status/web.json" {
		t.Error(got)
	}
}

func TestParseAppExitErrors(t *testing.T) {
	for _, s := range []string{
		``, `null x`, `[]`, `{"code":256}`, `{"code":-1}`, `{"signal":65}`, `{"signal":-9}`, `{"code":"0"}`,
		`{"startedAt":-1}`, `{"finishedAt":9223372036854775808}`,
		`{"code":0` + strings.Repeat(" ", MaxAppExit) + `}`,
	} {
		if got, err := ParseAppExit([]byte(s)); err == nil {
			t.Errorf("%.40q: %+v", s, got)
		}
	}
}

// FuzzParseAppExit: what is parsed is in range, and its file parses to the same.
func FuzzParseAppExit(f *testing.F) {
	f.Add([]byte(`{"code":1,"signal":0,"coreDumped":false,"oomKilled":true,"startedAt":1,"finishedAt":9223372036854775807}`))
	f.Add([]byte(`{"code":0,"signal":64}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseAppExit(data)
		if err != nil {
			return
		}
		if e.Code < 0 || e.Code > 255 || e.Signal < 0 || e.Signal > 64 {
			t.Errorf("%+v", e)
		}
		out := e.Marshal()
		if len(out) > MaxAppExit {
			t.Errorf("%d bytes", len(out))
		}
		if again, err := ParseAppExit(out); err != nil || again != e {
			t.Errorf("%q: %+v, then %+v, %v", data, e, again, err)
		}
	})
}
