// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
)

const withApp = `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","app":{"exec":["/a"],"user":"0","group":"0",` +
	`"isolators":[{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_X"]}},{"name":"x","value":1.0},` +
	`{"name":"os/linux/seccomp-retain-set","value":{"set":["y"]}}]}}`

func TestEditsKeepTheRest(t *testing.T) {
	e := manifestEdits{revokeCapability: "CAP_A,CAP_B"}
	got, err := e.apply([]byte(withApp))
	if err != nil {
		t.Fatal(err)
	}
	const want = `"isolators":[{"name":"x","value":1.0},{"name":"os/linux/seccomp-retain-set","value":{"set":["y"]}},` +
		`{"name":"os/linux/capabilities-remove-set","value":{"set":["CAP_A","CAP_B"]}}]`
	if !strings.Contains(string(got), want) {
		t.Errorf("%s", got)
	}
	none := manifestEdits{}
	loose := []byte(" " + withApp + "\n")
	if got, err := none.apply(loose); err != nil || !bytes.Equal(got, loose) {
		t.Errorf("without flags: %q, %v", got, err)
	}
}

func TestEditsCreateApp(t *testing.T) {
	e := manifestEdits{exec: "/b -c", user: "1", group: "2"}
	got, err := e.apply([]byte(`{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a"}`))
	const want = `{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","app":{"exec":["/b","-c"],"user":"1","group":"2"}}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

func TestEditFaults(t *testing.T) {
	for want, e := range map[string]manifestEdits{
		`invalid mount point: name must be set in ""`:                             {mounts: "a,path=/a:"},
		`invalid mount point "a": unknown mount point parameter "x"`:              {mounts: "a,x=y"},
		`invalid mount point "a": unknown mount point parameter "bare"`:           {mounts: "a,bare"},
		`invalid mount point: "path" given more than once in "a,path=/a,path=/b"`: {mounts: "a,path=/a,path=/b"},
		`app.mountPoints[0].path: path must be set`:                               {mounts: "a"},
		`app.mountPoints[0].name: ` + appc.ErrInvalidCharName.Error():             {mounts: "A,path=/"},
		`invalid port "p": unknown port parameter "x"`:                            {ports: "p,x=1"},
		`invalid port "p": strconv.ParseUint: parsing "70000": value out of range`: {
			ports: "p,protocol=tcp,port=70000",
		},
		`app.ports[0].port: port 0 must be in 1-65535 range`:                    {ports: "p"},
		`isolator resource/cpu: limit: "1x": ` + appc.ErrQuantityFormat.Error(): {isolators: "resource/cpu,limit=1x"},
		`isolator resource/cpu: unknown parameter "x"`:                          {isolators: "resource/cpu,x=1"},
		`isolator os/linux/oom-score-adj takes one value: os/linux/oom-score-adj,VALUE`: {
			isolators: "os/linux/oom-score-adj",
		},
		`isolator os/linux/no-new-privileges: strconv.ParseBool: parsing "maybe": invalid syntax`: {
			isolators: "os/linux/no-new-privileges,maybe",
		},
		`isolator os/linux/oom-score-adj: os/linux/oom-score-adj must be between -1000 and 1000, got 5000`: {
			isolators: "os/linux/oom-score-adj,5000",
		},
		`isolator os/linux/cpu-shares is not supported for patching`: {isolators: "os/linux/cpu-shares,5"},
		`isolator resource/block-iops: request must not be set`:      {isolators: "resource/block-iops,request=1"},
		`unknown seccomp option "x"`:                                 {seccompMode: "retain,x", seccompSet: "a"},
		`--seccomp-mode specified without --seccomp-set`:             {seccompMode: "retain"},
	} {
		if _, err := e.apply([]byte(withApp)); err == nil || err.Error() != want {
			t.Errorf("%+v:\n got %v\nwant %s", e, err, want)
		}
	}
}

func TestBlockIsolator(t *testing.T) {
	got, err := parseIsolators("resource/block-bandwidth,limit=2M:resource/cpu,request=1,limit=2")
	if err != nil {
		t.Fatal(err)
	}
	want := appc.Isolators{
		{Name: "resource/block-bandwidth", Value: []byte(`{"default":true,"request":null,"limit":"2M"}`)},
		{Name: "resource/cpu", Value: []byte(`{"default":false,"request":"1","limit":"2"}`)},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Whatever the flags say, the manifest that comes out is valid.
func FuzzPatchFlags(f *testing.F) {
	f.Add("a,path=/a,readOnly=true:b,path=/b", "p,protocol=tcp,port=80,count=2", "resource/cpu,limit=1:os/linux/oom-score-adj,5", "retain,errno=EPERM", "a,b", "1,2")
	f.Add("::", ",", "os/linux/no-new-privileges,1", "remove", "", "x")
	f.Fuzz(func(t *testing.T, mounts, ports, isolators, mode, set, groups string) {
		e := manifestEdits{mounts: mounts, ports: ports, isolators: isolators, seccompMode: mode, seccompSet: set, supplementaryGroups: groups}
		out, err := e.apply([]byte(withApp))
		if err != nil {
			return
		}
		m, err := appc.ParseImageManifest(out)
		if err != nil {
			t.Fatalf("%+v: %s: %v", e, out, err)
		}
		if wanted := strings.Count(mounts, ":") + 1; mounts != "" && len(m.App.MountPoints) != wanted {
			t.Fatalf("%q: %d mount points, not %d", mounts, len(m.App.MountPoints), wanted)
		}
	})
}
