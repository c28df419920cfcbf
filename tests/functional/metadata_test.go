// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// mdsLab runs pods that ask the metadata service, on the first host of a lab.
type mdsLab struct {
	*harness.Host
	lab    *harness.Lab
	t      *testing.T
	stage1 string
	image  string
	probe  string // the program on the host
	fly    bool
}

// mdsPod is a pod that is registered.
type mdsPod struct {
	*harness.Proc
	l   *mdsLab
	url string // AC_METADATA_URL
}

func newMDSLab(t *testing.T, flavor string) *mdsLab {
	t.Helper()
	lab := harness.NewLab(t)
	l := &mdsLab{Host: lab.Host, lab: lab, t: t, stage1: harness.Stage1Flag(t, flavor), probe: harness.GoProgram(t, "tests/functional/mdsprobe"), fly: flavor == "fly"}
	body, err := os.ReadFile(l.probe)
	if err != nil {
		t.Fatal(err)
	}
	m := harness.Manifest("example.com/mdsprobe", "1", map[string]any{"exec": []string{"/bin/mdsprobe", "wait"}})
	m["annotations"] = []map[string]any{{"name": "of-image", "value": "image"}, {"name": "both", "value": "image"}}
	l.image = l.Fetch(harness.ACI(t, m, append(harness.BusyboxEntries(t), harness.File("bin/mdsprobe", 0o755, string(body)))))
	return l
}

// launch starts a registered pod whose app has the name.
func (l *mdsLab) launch(name string, flags ...string) *mdsPod {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "uuid")
	args := append([]string{"run", l.stage1, "--mds-register", "--uuid-file-save=" + file}, flags...)
	p := &mdsPod{Proc: l.Start(append(args, l.image, "--name="+name, "--annotation=both=pod", "--annotation=added=of the pod")...), l: l}
	p.WaitContains("ready")
	uuid, err := os.ReadFile(file)
	if err != nil {
		l.t.Fatal(err)
	}
	p.UUID = string(uuid)
	m := regexp.MustCompile(`url (\S+)`).FindStringSubmatch(p.Output())
	if m == nil {
		l.t.Fatalf("AC_METADATA_URL is not set: %s%s", p.Output(), p.Errors())
	}
	p.url = m[1]
	return p
}

// ask sends a request from inside the pod.
func (p *mdsPod) ask(method, url string, form ...string) (status, body string) {
	p.l.t.Helper()
	r := p.l.Run(append([]string{"enter", p.UUID, "/bin/mdsprobe", method, url}, form...)...)
	status, body, _ = strings.Cut(strings.ReplaceAll(r.Stdout, "\r", ""), "\n")
	return status, body
}

func (p *mdsPod) api(path string) string { return p.url + "/acMetadata/v1" + path }

// wants asks and compares; an empty body is any.
func (p *mdsPod) wants(method, url, status, body string, form ...string) {
	p.l.t.Helper()
	s, b := p.ask(method, url, form...)
	if s != status || body != "" && b != body {
		p.l.t.Errorf("pod %s, %s %s: %q %q, want %q %q", p.UUID, method, url, s, b, status, body)
	}
}

const (
	mdsText = "200 text/plain; charset=us-ascii"
	mdsJSON = "200 application/json"
	mds401  = "401 text/plain; charset=utf-8"
	mds403  = "403 "
	mds404  = "404 text/plain; charset=utf-8"
)

// TestMetadataService: what pods learn of it, also after it was killed, and what
// nobody learns.
func TestMetadataService(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, flavor := range harness.Flavors("coreos", "host", "fly") {
		t.Run(flavor, func(t *testing.T) {
			harness.LockMetadata(t)
			l := newMDSLab(t, flavor)
			svc := l.StartMetadata("--listen-port=0")
			port := harness.MetadataPort(t)
			a, b := l.launch("a"), l.launch("b")
			host := "172.16.28.1"
			if l.fly {
				host = "127.0.0.1"
			}
			if !regexp.MustCompile(`^http://` + regexp.QuoteMeta(host) + `:` + port + `/[0-9a-f]{32}$`).MatchString(a.url) {
				t.Fatalf("AC_METADATA_URL %s, want host %s and port %s", a.url, host, port)
			}
			l.endpoints(a)

			status, signature := a.ask("POST", a.api("/pod/hmac/sign"), "content=it is me")
			if status != mdsText || len(signature) != 88 {
				t.Errorf("%q %q", status, signature)
			}
			svc.Killed()
			if s, body := a.ask("GET", a.api("/pod/uuid")); !strings.HasPrefix(s, "error ") {
				t.Errorf("the service is dead, and answers %s %s", s, body)
			}
			again := l.StartMetadata("--listen-port=" + port)
			l.endpoints(a)
			good := []string{"uuid=" + a.UUID, "content=it is me", "signature=" + signature}
			b.wants("POST", b.api("/pod/hmac/verify"), mdsText, "", good...)
			b.wants("POST", b.api("/pod/hmac/verify"), mds403, "", "uuid="+b.UUID, good[1], good[2])
			b.wants("POST", b.api("/pod/hmac/verify"), mds403, "", good[0], "content=it is not", good[2])

			l.strangers(a, b, port)
			token := a.url[strings.LastIndex(a.url, "/")+1:]
			l.OK("stop", a.UUID)
			a.Wait()
			b.wants("GET", a.api("/pod/uuid"), mds401, "pod not found\n")
			b.wants("GET", b.api("/pod/uuid"), mdsText, b.UUID)
			if r := l.Run("gc", "--grace-period=0s"); r.Status != 0 || strings.Contains(r.Stderr, "could not unregister") || l.PodDir(a.UUID) != "" {
				t.Errorf("%s", r)
			}
			log := svc.Errors() + again.Errors()
			if !strings.Contains(log, "DELETE /pods/"+a.UUID+" - ") || !strings.Contains(log, "GET /.../acMetadata/v1/pod/uuid - 401") || strings.Contains(log, token) {
				t.Errorf("log of the service:\n%s", log)
			}
			again.Signal(syscall.SIGTERM)
			if r := again.Wait(); r.Status != 0 || !strings.HasSuffix(r.Stderr, "metadata service exiting...\n") {
				t.Errorf("%s", r)
			}
			l.OK("stop", b.UUID)
			b.Wait()
			l.without()
		})
	}
}

// endpoints are those that only read.
func (l *mdsLab) endpoints(p *mdsPod) {
	l.t.Helper()
	p.wants("GET", p.api("/pod/uuid"), mdsText, p.UUID)
	p.wants("GET", p.api("/pod/annotations"), mdsJSON, "")
	p.wants("GET", p.api("/apps/a/annotations"), mdsJSON, "")
	p.wants("GET", p.api("/apps/a/annotations/both"), mdsText, "pod")
	p.wants("GET", p.api("/apps/a/annotations/of-image"), mdsText, "image")
	p.wants("GET", p.api("/apps/a/annotations/added"), mdsText, "of the pod")
	p.wants("GET", p.api("/apps/a/image/id"), mdsText, l.image)
	p.wants("GET", p.api("/apps/x/image/id"), mds404, "app not found\n")
	if s, manifest := p.ask("GET", p.api("/pod/manifest")); s != mdsJSON || !strings.Contains(manifest, `"/bin/mdsprobe"`) {
		l.t.Errorf("pod manifest: %s %s", s, manifest)
	}
	if s, manifest := p.ask("GET", p.api("/apps/a/image/manifest")); s != mdsJSON || !strings.Contains(manifest, `"example.com/mdsprobe"`) {
		l.t.Errorf("image manifest: %s %s", s, manifest)
	}
}

// strangers use what is not theirs.
func (l *mdsLab) strangers(a, b *mdsPod, port string) {
	l.t.Helper()
	if l.fly { // all pods of the host's network have one address
		b.wants("GET", a.api("/pod/uuid"), mdsText, a.UUID)
	} else {
		b.wants("GET", a.api("/pod/uuid"), mds401, "pod not found\n")
		path := strings.SplitN(a.url, "/", 4)[3]
		if out, err := l.lab.In(l.lab.Name, l.probe, "GET", "http://127.0.0.1:"+port+"/"+path+"/acMetadata/v1/pod/uuid"); err != nil || !strings.HasPrefix(out, "401 ") {
			l.t.Errorf("the token from the host: %s, %v", out, err)
		}
	}
	for _, addr := range []string{harness.LabHost, "[" + harness.LabHost6 + "]"} {
		if out, err := l.lab.In(l.lab.Client, l.probe, "GET", "http://"+addr+":"+port+"/x/acMetadata/v1/pod/uuid"); err == nil {
			l.t.Errorf("another machine gets an answer: %s", out)
		}
	}
	wrong := a.url[:len(a.url)-32] + strings.Repeat("0", 32)
	a.wants("GET", wrong+"/acMetadata/v1/pod/uuid", mds401, "pod not found\n")
}

// without the service nothing that is to be registered starts.
func (l *mdsLab) without() {
	l.t.Helper()
	l.Fail(254, "could not reach the metadata service.", "run", l.stage1, "--mds-register", l.image)
	uuid := strings.TrimSpace(l.OK("prepare", l.stage1, l.image))
	r := l.Fail(254, "could not reach the metadata service.\nhint: start it with", "run-prepared", "--mds-register", uuid)
	if s := l.Status(uuid)["state"]; s != "prepared" {
		l.t.Errorf("the pod is %s: %s", s, r)
	}
}

// TestMetadataIPv6: a pod that has IPv6 alone is told an address it can reach.
func TestMetadataIPv6(t *testing.T) {
	harness.LockMetadata(t)
	l := newNetLab(t)
	six := l.conf("30-six.conf", "six", `"cniVersion": "1.0.0", "type": "bridge", "bridge": "br-six", "isGateway": true,
		"ipam": {"type": "host-local", "ranges": [[{"subnet": "fd11:6::/64"}]]}`)
	l.StartMetadata("--listen-port=0")
	body, err := os.ReadFile(harness.GoProgram(t, "tests/functional/mdsprobe"))
	if err != nil {
		t.Fatal(err)
	}
	image := l.Fetch(harness.ACI(t, harness.Manifest("example.com/mdsprobe", "1", map[string]any{"exec": []string{"/bin/mdsprobe", "wait"}}),
		append(harness.BusyboxEntries(t), harness.File("bin/mdsprobe", 0o755, string(body)))))
	m := &mdsLab{Host: l.pods.Host, lab: l.Lab, t: t, stage1: l.stage1, image: image}
	p := m.launch("six", "--net="+six)
	if want := "http://[fd11:6::1]:" + harness.MetadataPort(t) + "/"; !strings.HasPrefix(p.url, want) {
		t.Errorf("AC_METADATA_URL %s, want %s", p.url, want)
	}
	p.wants("GET", p.api("/pod/uuid"), mdsText, p.UUID)
	l.OK("stop", p.UUID)
	p.Wait()
}
