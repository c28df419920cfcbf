// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/config"
)

const (
	awsDateHeader    = "X-Amz-Date"
	awsContentHeader = "X-Amz-Content-Sha256"
	awsService       = "s3"
	emptySHA256      = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// signAWS signs a request without body with signature version 4 for S3. Only
// the headers that nobody on the way changes are signed.
func signAWS(req *http.Request, c config.AWS, now time.Time) {
	region := c.Region
	if region == "" {
		region = awsRegion(req.URL.Hostname())
	}
	stamp := now.UTC().Format("20060102T150405Z")
	scope := stamp[:8] + "/" + region + "/" + awsService + "/aws4_request"
	req.Header.Set(awsDateHeader, stamp)
	req.Header.Set(awsContentHeader, emptySHA256)

	names, canonical := awsHeaders(req)
	request := strings.Join([]string{
		req.Method, awsPath(req.URL), awsQuery(req.URL), canonical, names, emptySHA256,
	}, "\n")
	digest := sha256.Sum256([]byte(request))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, hex.EncodeToString(digest[:])}, "\n")

	key := []byte("AWS4" + c.SecretAccessKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = hmacSHA256(key, part)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+c.AccessKeyID+"/"+scope+
		",SignedHeaders="+names+",Signature="+hex.EncodeToString(hmacSHA256(key, text)))
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// awsHeaders returns the names of the signed headers and their canonical form.
func awsHeaders(req *http.Request) (names, canonical string) {
	values := map[string]string{"host": req.URL.Host}
	for _, name := range []string{"Range", awsDateHeader, awsContentHeader} {
		if v := req.Header.Get(name); v != "" {
			values[strings.ToLower(name)] = strings.TrimSpace(v)
		}
	}
	list := make([]string, 0, len(values))
	for name := range values {
		list = append(list, name)
	}
	slices.Sort(list)
	var b strings.Builder
	for _, name := range list {
		b.WriteString(name + ":" + values[name] + "\n")
	}
	return strings.Join(list, ";"), b.String()
}

// awsPath escapes every byte of the path but the unreserved ones and slashes.
func awsPath(u *url.URL) string {
	if u.Path == "" {
		return "/"
	}
	return strings.ReplaceAll(awsEscape(u.Path), "%2F", "/")
}

func awsQuery(u *url.URL) string {
	var pairs []string
	for name, values := range u.Query() {
		for _, v := range values {
			pairs = append(pairs, awsEscape(name)+"="+awsEscape(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

func awsEscape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

const awsDefaultRegion = "us-east-1"

// awsRegion guesses the region of an S3 host.
func awsRegion(host string) string {
	host = strings.ToLower(host)
	labels := strings.Split(host, ".")
	n := len(labels)
	if n < 3 || labels[n-2] != "amazonaws" ||
		strings.HasSuffix(host, "s3.amazonaws.com") || strings.HasSuffix(host, "s3-external-1.amazonaws.com") {
		return awsDefaultRegion
	}
	if region, ok := strings.CutPrefix(labels[n-3], "s3-"); ok {
		return region
	}
	if n >= 4 && labels[n-4] == awsService {
		return labels[n-3]
	}
	return awsDefaultRegion
}
