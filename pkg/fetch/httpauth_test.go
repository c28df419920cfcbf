// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/compression"
	"github.com/rkt/rkt/v2/pkg/config"
)

// credentials are those of a test.
type credentials struct {
	auth   map[string]config.AuthEntry
	docker map[string]config.Basic
}

func (c credentials) AuthFor(u *url.URL) (config.AuthEntry, bool) {
	e, ok := c.auth[u.Host]
	return e, ok
}

func (c credentials) DockerAuthFor(registry string) (config.Basic, bool) {
	b, ok := c.docker[registry]
	return b, ok
}

func host(s *httptest.Server) string {
	_, h, _ := strings.Cut(s.URL, "://")
	return h
}

// Credentials go to their host over https and do not follow redirects.
func TestCredentials(t *testing.T) {
	data := makeACI(t, imageManifest("example.com/app", ""), 10, compression.None)
	for name, entry := range map[string]config.AuthEntry{
		"Basic dTpw":      {Type: config.AuthBasic, Basic: config.Basic{User: "u", Password: "p"}},
		"Bearer tok":      {Type: config.AuthOAuth, Token: "tok"},
		"AWS4-HMAC-SHA25": {Type: config.AuthAWS, AWS: config.AWS{AccessKeyID: "a", SecretAccessKey: "s"}},
	} {
		t.Run(name, func(t *testing.T) {
			secure, other, plain := serve(t, true, data), serve(t, true, data), serve(t, false, data)
			f, _ := fetcher(newFakeStore(t))
			f.Insecure.TLS = true
			f.Auth = credentials{auth: map[string]config.AuthEntry{host(secure.Server): entry, host(plain.Server): entry}}
			if _, err := f.Fetch(t.Context(), secure.URL+"/a.aci", ImageOptions{}); err != nil {
				t.Fatal(err)
			}
			if got := secure.headers[0].Get("Authorization"); !strings.HasPrefix(got, name) {
				t.Errorf("Authorization %q", got)
			}
			if _, err := f.Fetch(t.Context(), plain.URL+"/a.aci", ImageOptions{}); err != nil {
				t.Fatal(err)
			}
			if got := plain.headers[0].Get("Authorization"); got != "" {
				t.Errorf("sent over http: %q", got)
			}
			for _, target := range []*server{other, plain} {
				target.headers = nil
				secure.handle = func(w http.ResponseWriter, req *http.Request) bool {
					http.Redirect(w, req, target.URL+req.URL.Path, http.StatusFound)
					return true
				}
				if _, err := f.Fetch(t.Context(), secure.URL+"/b.aci", ImageOptions{Policy: Update}); err != nil {
					t.Fatal(err)
				}
				h := target.headers[0]
				if h.Get("Authorization") != "" || h.Get(awsDateHeader) != "" || h.Get("User-Agent") != "rkt" {
					t.Errorf("headers after a redirect: %v", h)
				}
			}
		})
	}
}

func TestTLS(t *testing.T) {
	s := serve(t, true, makeACI(t, imageManifest("example.com/app", ""), 10, compression.None))
	s.Config.ErrorLog = nil
	f, _ := fetcher(newFakeStore(t))
	_, err := f.Fetch(t.Context(), s.URL+"/a.aci", ImageOptions{})
	wantError(t, err, "error downloading ACI", "certificate")
}

// The example of Amazon's documentation, "GET Object" with a range.
func TestSignAWS(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://examplebucket.s3.amazonaws.com/test.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=0-9")
	c := config.AWS{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	signAWS(req, c, time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC))
	want := "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," +
		"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date," +
		"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	if got := req.Header.Get("Authorization"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAWSRegion(t *testing.T) {
	for host, want := range map[string]string{
		"localhost": "us-east-1", "s3.example.com": "us-east-1", "bucket.s3.amazonaws.com": "us-east-1",
		"s3-external-1.amazonaws.com": "us-east-1", "bucket.s3-eu-west-1.amazonaws.com": "eu-west-1",
		"bucket.s3.eu-central-1.amazonaws.com": "eu-central-1", "S3-AP-south-1.amazonaws.com": "ap-south-1", "ec2.x.amazonaws.com": "us-east-1",
	} {
		if got := awsRegion(host); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
