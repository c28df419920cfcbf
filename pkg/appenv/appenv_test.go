// SPDX-License-Identifier: Apache-2.0

package appenv

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
)

func env(words ...string) (e appc.Environment) {
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		e = append(e, appc.EnvironmentVariable{Name: name, Value: value})
	}
	return e
}

func TestMerge(t *testing.T) {
	image := env("A=image", "B=image", "C=image", "D=image")
	got := Merge(Layers{
		Inherited: []string{"A=caller", "E=caller", "F=caller", "BASH_FUNC_x%%=() { :; }", "nonsense"},
		Image:     image,
		File:      env("B=file", "C=file", "D=file", "G=file"),
		Set:       env("C=set", "D=set"),
		App:       env("D=app", "E=app"),
	})
	want := env("A=image", "B=file", "C=set", "D=app", "G=file", "E=app", "F=caller")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if image[1].Value != "image" {
		t.Error("Merge changed its argument")
	}
	if got := Merge(Layers{}); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestCompose(t *testing.T) {
	odd := "two\nlines \"quoted\" \\ # ; $X "
	got := Compose(Runtime{
		Environment: env("HOME=/mine", "container=docker", "AC_APP_NAME=forged", "ODD="+odd),
		AppName:     "web", User: "www", Home: "/var/www", Shell: "/bin/sh",
	})
	want := env("HOME=/mine", "container=rkt", "AC_APP_NAME=web", "ODD="+odd,
		"PATH="+DefaultPath, "SHELL=/bin/sh", "USER=www", "LOGNAME=www")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got = Compose(Runtime{AppName: "a", MetadataURL: "http://10.0.0.1:18112/t", User: "root", Home: "/root", Shell: "/bin/sh"})
	want = env("PATH="+DefaultPath, "SHELL=/bin/sh", "USER=root", "LOGNAME=root", "HOME=/root",
		"container=rkt", "AC_APP_NAME=a", "AC_METADATA_URL=http://10.0.0.1:18112/t")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFile(t *testing.T) {
	if got := string(File(List(env("A=1", "B=")))); got != "A=1\nB=\n" {
		t.Errorf("%q", got)
	}
}
