// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"net/url"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
)

func TestTemplate(t *testing.T) {
	hostOS, hostArch := appc.HostLabels()
	for _, tc := range []struct {
		template string
		labels   []string
		aci, asc string // or the error in aci
	}{
		{"https://h/{name}.{ext}", nil, "https://h/example.com/app.aci", "https://h/example.com/app.aci.asc"},
		{"https://h/{version}-{os}-{arch}.{ext}", nil, "https://h/latest-" + hostOS + "-" + hostArch + ".aci", "https://h/latest-" + hostOS + "-" + hostArch + ".aci.asc"},
		{"https://h/{version}.{ext}", []string{"version=2.0.0+git"}, "https://h/2.0.0+git.aci", "https://h/2.0.0+git.aci.asc"},
		{"https://h:8443/{a.b/c}.{ext}?x={a.b/c}", []string{"a.b/c=1/2"}, "https://h:8443/1/2.aci?x=1/2", "https://h:8443/1/2.aci.asc?x=1/2"},
		// A host made of the name, as with simple discovery.
		{"https://{name}-{version}.{ext}", nil, "https://example.com/app-latest.aci", "https://example.com/app-latest.aci.asc"},
		{"https://{arch}.h/{ext}", []string{"arch=amd64"}, "https://amd64.h/aci", "https://amd64.h/aci.asc"},
		// Without {ext} the signature is where that of a URL is.
		{"https://h/{name}.aci?k=v", nil, "https://h/example.com/app.aci?k=v", "https://h/example.com/app.aci.asc?k=v"},
		{"https://h/a%2Fb.aci", nil, "https://h/a%2Fb.aci", "https://h/a%2Fb.aci.asc"},
		{"https://[::1]:444/{ext}#{nothing}", nil, "https://[::1]:444/aci", "https://[::1]:444/aci.asc"},
		{"HTTPS://h/{ext}", nil, "https://h/aci", "https://h/aci.asc"},
		// Values are data.
		{"https://h/{v}.{ext}", []string{"v={ext}"}, "https://h/%7Bext%7D.aci", "https://h/%7Bext%7D.aci.asc"},
		{"https://h/{v}.{ext}", []string{"v=a?b#c d%2e"}, "https://h/a%3Fb%23c%20d%252e.aci", "https://h/a%3Fb%23c%20d%252e.aci.asc"},
		{"https://h/?q={v}&e={ext}", []string{"v=a&b=1+1"}, "https://h/?q=a%26b%3D1%2B1&e=aci", "https://h/?q=a%26b%3D1%2B1&e=aci.asc"},
		{"https://h/{ext}", []string{"ext=zip"}, "https://h/aci", "https://h/aci.asc"},
		{"https://{v}/{ext}", []string{"v=evil.org/"}, `{v}: value "evil.org/" cannot be a part of a host`, ""},
		{"https://{v}h/{ext}", []string{"v=user:pw@"}, "cannot be a part of a host", ""},
		{"{v}://h/{ext}", []string{"v=file:"}, "cannot be a part of a host", ""},
		// Tags that are of no use.
		{"https://h/{channel}.{ext}", nil, `it needs the label "channel"`, ""},
		{"https://h/{}.{ext}", nil, `it needs the label ""`, ""},
		{"https://h/{name", nil, "a brace is not closed", ""},
		{"https://h/{{name}}.{ext}", nil, `it needs the label "{name"`, ""},
		{"https://h/" + strings.Repeat("{v}", 1000) + ".{ext}", []string{"v=" + strings.Repeat("x", 1<<20)}, "URL longer than 8192 bytes", ""},
		{"ftp://h/{ext}", nil, "not an http or https URL", ""},
		{"file:///{ext}", nil, "not an http or https URL", ""},
		{"//h/{ext}", nil, "not an http or https URL", ""},
		{"/{name}.{ext}", nil, "not an http or https URL", ""},
		{"https:///{ext}", nil, "URL without a host", ""},
		{"https://:80/{ext}", nil, "URL without a host", ""},
		{"https:h/{ext}", nil, "URL without a host", ""},
		{"https://u:p@h/{ext}", nil, "URL with credentials", ""},
		{"https://h:port/{ext}", nil, "invalid port", ""},
		{"https://h\\evil/{ext}", nil, "invalid character", ""},
		{"https://h/%zz{ext}", nil, "invalid URL escape", ""},
	} {
		got, err := render(tc.template, templateValues(app("example.com/app", tc.labels...)))
		if tc.asc == "" {
			if err == nil || !strings.Contains(err.Error(), tc.aci) {
				t.Errorf("%s %v: %v, %v", tc.template, tc.labels, got, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.template, err)
			continue
		}
		if got.ACI.String() != tc.aci || got.ASC.String() != tc.asc {
			t.Errorf("%s: %s %s", tc.template, got.ACI, got.ASC)
		}
	}
}

// Values change neither scheme nor host nor, if there is none, make a query.
func FuzzTemplate(f *testing.F) {
	for _, s := range [][2]string{
		{"https://h/{v}.{ext}", "1"},
		{"https://{v}/x", "evil.org/?"},
		{"https://h?{v}", "#"},
		{"http{v}://h/", "s"},
		{"https://h/{name}", "../.."},
		{"https://{v}:{v}/", "1"},
		{"https://h{v}", "@evil"},
		{"https://h/%{v}", "41"},
		{"https://[{v}]/", "::1"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, template, value string) {
		got, err := render(template, map[string]string{"name": "example.com/app", "v": value})
		if err != nil {
			return
		}
		plain, err := render(template, map[string]string{"name": "example.com/app", "v": "x"})
		for _, u := range []struct{ got, text string }{{got.ACI.String(), "aci"}, {got.ASC.String(), "asc"}} {
			again, err := parseURL(u.got)
			if err != nil || again.String() != u.got {
				t.Fatalf("%s %q does not parse back: %v, %v", u.text, u.got, again, err)
			}
		}
		if err != nil {
			return
		}
		literal, _, _ := strings.Cut(template, "#")
		inAuthority := strings.Contains(literal, "{v}") && partOf(literal[:strings.Index(literal, "{v}")]) == authority
		if !inAuthority && (got.ACI.Scheme != plain.ACI.Scheme || got.ACI.Host != plain.ACI.Host) {
			t.Fatalf("%q with %q is %s", template, value, got.ACI)
		}
		if (got.ACI.RawQuery == "") != (plain.ACI.RawQuery == "") && value != "" {
			t.Fatalf("%q with %q is %s", template, value, got.ACI)
		}
	})
}

// An image string that parses prints back as one that means the same, and
// what it asks for can be put into a template.
func FuzzApp(f *testing.F) {
	for _, s := range []string{
		"example.com/app", "example.com/app:v1.0.0", "example.com/app:v1.0.0,label01=?&*/", "a:2.0.0+git", "a,version=1,os=linux",
		"a:1,version=2", "a,b", "a,b=c=d", "a:b:c", "a,b=:", "a//b", "a,name=b", "a:", "cimd", "127.0.0.1/a", "a/../../b", "a~b/c", "a.b//c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := distribution.ParseAppc(s)
		if err != nil {
			return
		}
		again, err := distribution.ParseAppc(p.String())
		if err != nil || !again.Equal(p) {
			t.Fatalf("%q became %q: %v", s, p, err)
		}
		got, err := render("https://h/{name}:{version}?{version}&{ext}", templateValues(App{Name: p.Name, Labels: p.Labels}))
		if len(s) > 1000 {
			return // may be too long
		}
		if err != nil || got.ACI.Host != "h" || got.ACI.User != nil {
			t.Fatalf("%q: %v, %v", s, got.ACI, err)
		}
		candidates := candidatesOf(string(p.Name))
		if candidates[0] != string(p.Name) || strings.Contains(candidates[len(candidates)-1], "/") {
			t.Fatalf("%q", candidates)
		}
		host, _, _ := strings.Cut(candidates[0], "/")
		for _, c := range candidates {
			u, err := url.Parse((&Finder{}).newConn().url("https", c).String())
			if err != nil || u.Host != host || u.RawQuery != "ac-discovery=1" {
				t.Fatalf("%q: %v, %v", c, u, err)
			}
		}
	})
}
