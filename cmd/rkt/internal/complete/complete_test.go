// SPDX-License-Identifier: Apache-2.0

package complete

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/rkt/rkt/v2/pkg/pod"
)

// fixture has a pod in each of three states.
type fixture struct{}

func (fixture) Pods(_ string, wanted func(pod.State) bool) (list []Candidate) {
	for uuid, state := range map[string]pod.State{"aaaa": pod.Running, "bbbb": pod.Prepared, "cccc": pod.Exited} {
		if wanted(state) {
			list = append(list, Candidate{uuid, string(state)})
		}
	}
	return list
}

func (fixture) Apps(uuid string) []Candidate { return words("app-of-" + uuid) }
func (fixture) Images(string) []Candidate    { return words("example.com/a", "x/y:1") }
func (fixture) Networks() []Candidate        { return words("default") }
func (fixture) Declarations() []Candidate    { return words("web", "worker@") }
func (fixture) Keys() []Candidate            { return words("0123abcd", "4567cdef") }

// command is the command of path, with some flags.
func command(path string) *cobra.Command {
	at := &cobra.Command{Use: "rkt"}
	for _, word := range strings.Fields(path) {
		next := &cobra.Command{Use: word}
		at.AddCommand(next)
		at = next
	}
	at.Flags().String("app", "", "")
	at.Flags().String("uuid-file", "", "")
	at.Flags().BoolP("force", "f", false, "")
	at.Flags().StringP("lines", "n", "", "")
	return at
}

func TestPodsByState(t *testing.T) {
	for path, want := range map[string]string{
		"enter": "aaaa", "stop": "aaaa", "attach": "aaaa", "app add": "aaaa", "app exec": "aaaa", "net check": "aaaa",
		"run-prepared": "bbbb", "rm": "bbbb cccc", "logs": "aaaa cccc", "export": "aaaa cccc",
		"status": "aaaa bbbb cccc", "cat-manifest": "aaaa bbbb cccc", "list": "",
	} {
		r := Line(command(path), nil, "", fixture{})
		if got := text(r); got != want {
			t.Errorf("rkt %s: %q, want %q", path, got, want)
		}
	}
}

func text(r Result) string {
	var list []string
	for _, c := range r.Candidates {
		list = append(list, c.Value)
	}
	return strings.Join(list, " ")
}

func TestLine(t *testing.T) {
	for _, c := range []struct{ path, rest, partial, want string }{
		{"enter", "--app", "", "app-of-"},
		{"enter", "", "--app=", "app-of-"},
		{"app rm", "aaaa --app", "", "app-of-aaaa"},
		{"enter", "aaaa", "", ""},           // the command to run
		{"enter", "aaaa ls", "--force", ""}, // its flags
		{"stop", "aaaa", "", ""},            // not twice
		{"stop", "--uuid-file=x", "", ""},   // the file says it
		{"stop", "--uuid-file x", "", ""},   //
		{"stop", "-f", "", "aaaa"},          // needs no value
		{"logs", "-n", "", ""},              // needs one
		{"stop", "--", "", "aaaa"},          //
		{"stop", "--nonsense", "a", "aaaa"}, // may still be corrected
		{"status", "aaaa", "", ""},          // takes one
		{"image rm", "", "x/y:", "x/y:1"},   //
		{"image export", "x/y:1", "", ""},   // a file
		{"run", "", "", "example.com/a x/y:1"},
		{"unit show", "", "w", "web worker@"},
		{"unit show", "web", "", ""}, // takes one
		{"trust rm", "0123abcd", "", "4567cdef"},
		{"stop", "", "--f", "--force"},
		{"stop", "", "--no-such=", ""},
	} {
		r := Line(command(c.path), strings.Fields(c.rest), c.partial, fixture{})
		if got := text(r); got != c.want {
			t.Errorf("rkt %s %s %q: %q, want %q", c.path, c.rest, c.partial, got, c.want)
		}
	}
}

// What comes from images and pods cannot make up a line of the answer or a word
// a shell would run.
func TestWriteHostile(t *testing.T) {
	r := Result{Candidates: []Candidate{{"good", "a\x1b[31m\nb\tc"}, {"a b", ""}, {"a\nb", ""}, {"$(id)", ""}, {"`id`", ""}, {"a;b", ""}, {"", "x"}, {"é", ""}}, Directive: 4}
	var b strings.Builder
	if err := r.Write(&b, true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("good\ta[31mbc\n:4\n", b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestQuoted(t *testing.T) {
	for text, want := range map[string]string{
		`"a", "b-c"; "d"`: "a b-c", `"a"`: "a", "": "", `"a`: "", `none`: "", `"a", or "b"`: "a",
	} {
		if got := strings.Join(quoted(text), " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("stop", "--app x --", "--a")
	f.Add("run", "x -- y --- z", "--app=")
	f.Fuzz(func(t *testing.T, path, rest, partial string) {
		if len(strings.Fields(path)) == 0 {
			path = "stop"
		}
		var b strings.Builder
		if err := Line(command(path), strings.Fields(rest), partial, fixture{}).Write(&b, true); err != nil {
			t.Fatal(err)
		}
		if out := b.String(); !strings.Contains("\n"+out, "\n:") || !strings.HasSuffix(out, "\n") {
			t.Errorf("answer %q", out)
		}
	})
}
