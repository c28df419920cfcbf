// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

// The table of docs/hostile-servers.md, by row and column: what rkt says with
// exit status 254. The texts of one cell are separated by |.

// Faults of transfers that are the same for several things.
const (
	saysStopped  = "the server has stopped sending"
	saysBroken   = "unexpected EOF"
	saysRedirect = "too many redirects"
	saysBusy     = "Unexpected HTTP code: 429"
	saysBusyWeb  = "bad HTTP status code: 429"
	saysACI      = "error downloading ACI: https://web.example.com/app.aci: "
	saysExtract  = saysACI + "error extracting ACI: "
	saysASC      = "error downloading the signature file: https://web.example.com/app.aci.asc: "
	saysNoSig    = saysASC + "keystore: no valid signatures found in signature file: "
	saysPage     = "discovery failed for \"web.example.com/app\"|https://web.example.com/app?ac-discovery=1: "
	saysImage    = "error converting docker image to ACI: docker://registry.example.com/app@sha256:|"
	saysToken    = saysImage + "token server token.example.com: "
)

var badACI = map[string]string{
	"stall":                saysACI + saysStopped,
	"silence":              saysACI + saysStopped,
	"1 B/s":                saysACI + saysStopped,
	"reset":                saysACI + saysBroken,
	"reset once":           resumes,
	"length too long":      saysACI + saysBroken,
	"length too short":     saysExtract + "could not extract file|" + saysBroken,
	"other bytes":          saysExtract,
	"redirect loop":        saysACI + saysRedirect,
	"401 loop":             saysACI + "bad HTTP status code: 401",
	"429":                  saysACI + saysBusyWeb,
	"429 Retry-After 1":    saysACI + saysBusyWeb,
	"429 Retry-After 9999": saysACI + saysBusyWeb,
	"429 once":             saysACI + saysBusyWeb,
	"truncated gzip":       saysExtract + "could not extract file|" + saysBroken,
	"HTML":                 saysExtract + "error: unknown image filetype",
}

var badSignature = map[string]string{
	"stall":                saysASC + "signature file: " + saysStopped,
	"silence":              saysASC + saysStopped,
	"1 B/s":                saysASC + "signature file: " + saysStopped,
	"reset":                saysASC + "signature file: " + saysBroken,
	"reset once":           saysASC + "signature file: " + saysBroken,
	"length too long":      saysASC + "signature file: " + saysBroken,
	"length too short":     saysNoSig + "armor: unexpected EOF",
	"other bytes":          "hint: ", // which packet it is that is broken depends on the byte
	"redirect loop":        saysASC + saysRedirect,
	"401 loop":             saysASC + "bad HTTP status code: 401",
	"429":                  saysASC + saysBusyWeb,
	"429 Retry-After 1":    saysASC + saysBusyWeb,
	"429 Retry-After 9999": saysASC + saysBusyWeb,
	"429 once":             saysASC + saysBusyWeb,
	"truncated gzip":       saysNoSig + "openpgp: invalid data",
	"HTML":                 saysNoSig + "openpgp: invalid data",
}

var badDiscovery = map[string]string{
	"stall":                saysPage + "no page within 4s",
	"silence":              saysPage + "no page within 4s",
	"1 B/s":                saysPage + "no page within 4s",
	"reset":                saysPage + saysBroken,
	"reset once":           comes, // the next page up has the tag, too
	"length too long":      saysPage + saysBroken,
	"length too short":     saysPage + "the page has no such tag",
	"other bytes":          saysPage + "the page has no such tag",
	"redirect loop":        saysPage + saysRedirect,
	"401 loop":             saysPage + "expected a 200 OK got 401",
	"429":                  saysPage + "expected a 200 OK got 429",
	"429 Retry-After 1":    saysPage + "expected a 200 OK got 429",
	"429 Retry-After 9999": saysPage + "expected a 200 OK got 429",
	"429 once":             comes, // likewise
	"truncated gzip":       saysPage + "the page has no such tag",
	"HTML":                 saysPage + "the page has no such tag",
}

var badManifest = map[string]string{
	"stall":                saysImage + saysStopped,
	"silence":              saysImage + saysStopped,
	"1 B/s":                saysImage + saysStopped,
	"reset":                saysImage + saysBroken,
	"reset once":           comes,
	"length too long":      saysImage + saysBroken,
	"length too short":     saysImage + "digest does not match",
	"other bytes":          saysImage + "digest does not match",
	"redirect loop":        saysImage + saysRedirect,
	"401 loop":             saysImage + "Unexpected HTTP code: 401|hint: ",
	"429":                  saysImage + saysBusy,
	"429 Retry-After 1":    saysImage + saysBusy,
	"429 Retry-After 9999": saysImage + saysBusy,
	"429 once":             comes,
	"truncated gzip":       saysImage + "digest does not match",
	"HTML":                 saysImage + "digest does not match",
}

var badBlob = map[string]string{
	"stall":                saysImage + "layer sha256:|" + saysStopped,
	"silence":              saysImage + "layer sha256:|" + saysStopped,
	"1 B/s":                saysImage + "layer sha256:|" + saysStopped,
	"reset":                saysImage + "layer sha256:|" + saysBroken,
	"reset once":           comes,
	"length too long":      saysImage + "bytes expected but|announced",
	"length too short":     saysImage + "bytes expected but|announced",
	"other bytes":          saysImage + "layer sha256:|read archive: ",
	"redirect loop":        saysImage + "layer sha256:|" + saysRedirect,
	"401 loop":             saysImage + "Unexpected HTTP code: 401",
	"429":                  saysImage + saysBusy,
	"429 Retry-After 1":    saysImage + saysBusy,
	"429 Retry-After 9999": saysImage + saysBusy,
	"429 once":             comes,
	"truncated gzip":       saysImage + "bytes expected but|announced",
	"HTML":                 saysImage + "bytes expected but|announced",
}

var badToken = map[string]string{
	"stall":                saysToken + "|" + saysStopped,
	"silence":              saysToken + "|" + saysStopped,
	"1 B/s":                saysToken + "|" + saysStopped,
	"reset":                saysToken + "|" + saysBroken,
	"reset once":           comes,
	"length too long":      saysToken + "|" + saysBroken,
	"length too short":     saysToken + "unexpected end of JSON input",
	"other bytes":          saysImage + "Unexpected HTTP code: 401|hint: ", // a token that is of no use
	"redirect loop":        saysToken + "|stopped after 10 redirects",
	"401 loop":             saysToken + "unable to retrieve auth token: 401 unauthorized|hint: ",
	"429":                  saysToken + saysBusy,
	"429 Retry-After 1":    saysToken + saysBusy,
	"429 Retry-After 9999": saysToken + saysBusy,
	"429 once":             comes,
	"truncated gzip":       saysToken + "invalid character",
	"HTML":                 saysToken + "invalid character '<'",
}
