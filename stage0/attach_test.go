// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
)

func TestParseAttachMode(t *testing.T) {
	const custom = entrypoint.AttachCustom
	for _, tt := range []struct {
		mode string
		want entrypoint.Attach
		err  string
	}{
		{"", entrypoint.Attach{Action: entrypoint.AttachAuto}, ""},
		{"auto", entrypoint.Attach{Action: entrypoint.AttachAuto}, ""},
		{"list", entrypoint.Attach{Action: entrypoint.AttachList}, ""},
		{"stdin,stderr", entrypoint.Attach{Action: custom, Stdin: true, Stderr: true}, ""},
		{"stdout", entrypoint.Attach{Action: custom, Stdout: true}, ""},
		{"tty", entrypoint.Attach{Action: custom, TTYIn: true, TTYOut: true}, ""},
		{"tty-out,tty-in", entrypoint.Attach{Action: custom, TTYIn: true, TTYOut: true}, ""},
		{"stdin,socket", entrypoint.Attach{}, `unknown endpoint "socket"`},
		{"list,stdin", entrypoint.Attach{}, `unknown endpoint "list"`},
		{"Stdin", entrypoint.Attach{}, `unknown endpoint "Stdin"`},
		{",", entrypoint.Attach{}, "mode must specify at least one endpoint to attach"},
		{"tty,stdin", entrypoint.Attach{}, `incompatible endpoints "tty,stdin", cannot simultaneously attach TTY and streams`},
	} {
		got, err := ParseAttachMode(tt.mode)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != tt.want || text != tt.err {
			t.Errorf("%q: %+v, %q", tt.mode, got, text)
		}
	}
}

func TestAttach(t *testing.T) {
	needs(t)
	ctx := context.Background()
	w := newMutableWorld(t)
	m := w.sandbox("overlay")
	wantText(t, Attach(ctx, m.open(m.uuid), AttachConfig{Env: w.env}), "unable to determine app name: pod contains zero apps")
	if err := AddApp(ctx, m.open(m.uuid), AddAppConfig{Env: w.env, App: App{Image: appID, Name: "web"}}); err != nil {
		t.Fatal(err)
	}
	c := AttachConfig{Env: w.env, Mode: "stdin,stdout", Stdin: strings.NewReader("")}
	if err := Attach(ctx, m.open(m.uuid), c); err != nil || w.stdout.String() != "attached to web\n" {
		t.Errorf("%v, %q", err, w.stdout.String())
	}
	r := m.report("attach")
	want := []string{"--action=custom-attach", "--tty-in=false", "--tty-out=false", "--stdin=true", "--stdout=true", "--stderr=false", "--app=web", "--debug=false"}
	if diff := cmp.Diff(want, r.Args[1:]); diff != "" {
		t.Errorf("argv (-want +got):\n%s", diff)
	}
	if len(r.Env) != 3 || !strings.HasPrefix(r.Env[0], entrypoint.EnvEnterCmd+"=/") {
		t.Errorf("environment %q", r.Env)
	}
	m.stubExits("attach", "7")
	w.env.Stderr = nil
	wantText(t, Attach(ctx, m.open(m.uuid), AttachConfig{Env: w.env}), "error executing stage1 entrypoint: exit status 7")
	wantText(t, Attach(ctx, m.open(m.uuid), AttachConfig{Env: w.env, Mode: "x"}), `invalid attach mode: unknown endpoint "x"`)
	m.end()
	wantText(t, Attach(ctx, m.open(m.uuid), AttachConfig{Env: w.env}), "isn't currently running")
	// A stage1 without the program says so.
	prepared := w.prepared(w.prepareConfig())
	p := w.open(prepared)
	if err := os.WriteFile(p.Path()+"/stage1/manifest", []byte(strings.ReplaceAll(readAll(t, p.Path()+"/stage1/manifest"), "stage1/attach", "stage1/x")), 0o640); err != nil {
		t.Fatal(err)
	}
	_, err := w.env.crossing(ctx, p, 1, entrypoint.AnnotationAttach)
	wantText(t, err, `"coreos.com/rkt/stage1/attach" not implemented for pod's stage1: entrypoint "coreos.com/rkt/stage1/attach" not found`)
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
