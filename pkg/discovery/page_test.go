// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"html"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

func TestTags(t *testing.T) {
	m := `<meta name="ac-discovery" content="p u">`
	one := []tag{{"ac-discovery", "p", "u"}}
	for name, tc := range map[string]struct {
		page string
		want []tag
	}{
		"plain":           {m, one},
		"in the body":     {"<html><head></head><body><div><p>" + m, one},
		"self-closing":    {`<meta name="ac-discovery" content="p u"/>`, one},
		"unquoted":        {`<META NAME=ac-discovery CONTENT='p u'>`, one},
		"other order":     {`<meta content="p u" charset=x name="ac-discovery">`, one},
		"white space":     {"<meta\n name = \"ac-discovery\"\n content=\" \tp\n  u \">", one},
		"entities":        {`<meta name="ac-discovery" content="p u&amp;v">`, []tag{{"ac-discovery", "p", "u&v"}}},
		"any ac name":     {`<meta name="ac-other" content="p u">`, []tag{{"ac-other", "p", "u"}}},
		"first attribute": {`<meta name="ac-discovery" name="x" content="p u" content="q v">`, one},
		"incomplete":      {`<meta name="ac-discovery" content="p u"`, nil},
		"open quote":      {`<meta name="ac-discovery" content="p u>` + m, nil},
		"other name":      {`<meta name="discovery" content="p u">`, nil},
		"upper case":      {`<meta name="AC-discovery" content="p u">`, nil},
		"no name":         {`<meta content="p u">`, nil},
		"no content":      {`<meta name="ac-discovery">`, nil},
		"one word":        {`<meta name="ac-discovery" content="p">`, nil},
		"three words":     {`<meta name="ac-discovery" content="p u v">`, nil},
		"end tag":         {`</meta name="ac-discovery" content="p u">`, nil},
		"comment":         {"<!-- " + m + " -->", nil},
		"script":          {"<script>" + m + "</script>", nil},
		"style":           {"<style>" + m + "</style>", nil},
		"title":           {"<title>" + m + "</title>", nil},
		"textarea":        {"<textarea>" + m + "</textarea>", nil},
		"plaintext":       {"<plaintext>" + m, nil},
		"attribute":       {`<p title='` + m + `'>`, nil},
		"after a script":  {"<script>'</scrip'</script>" + m, one},
		"open comment":    {"<!-- " + m, nil},
		"deep":            {strings.Repeat("<div>", 100_000) + m, one},
		"utf-16":          {"\xfe\xff" + strings.Join(strings.Split(m, ""), "\x00"), nil},
		"latin 1":         {"<p>\xe9\xff</p>" + m, one},
		"bom":             {"\xef\xbb\xbf" + m, one},
		"long":            {`<meta name="ac-discovery" content="p ` + strings.Repeat("u", maxTag) + `">` + m, one},
		"nul":             {"\x00<p \x00>" + m, one},
	} {
		got, err := tagsOf(strings.NewReader(tc.page))
		if err != nil || !cmp.Equal(got, tc.want, cmp.AllowUnexported(tag{})) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := tagsOf(strings.NewReader(strings.Repeat(m, 10*maxTags))); err != nil || len(got) != maxTags {
		t.Errorf("%d tags, %v", len(got), err)
	}
}

// What is found is well-formed, and is found again when it is written out.
func FuzzDiscoverHTML(f *testing.F) {
	for _, s := range []string{
		`<meta name="ac-discovery" content="a https://b/{name}.{ext}">`, `<meta name=ac- content='a&#32;b' />`,
		"<!--<meta name=ac-x content='a b'>-->", "<script><meta name=ac-x content='a b'></script>", `<meta name="ac-x" content="a b`,
		"<meta name=ac-x content=\"a\u00a0b\">", "<meta name=\"ac-x\x00\" content=\"a\r\nb\">",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, page string) {
		tags, err := tagsOf(strings.NewReader(page))
		if err != nil || len(tags) > maxTags {
			t.Fatalf("%d tags, %v", len(tags), err)
		}
		var again strings.Builder
		for _, tg := range tags {
			for _, s := range []string{tg.prefix, tg.uri} {
				if s == "" || strings.ContainsFunc(s, unicode.IsSpace) {
					t.Fatalf("%q", tg)
				}
			}
			if !strings.HasPrefix(tg.name, "ac-") {
				t.Fatalf("%q", tg)
			}
			again.WriteString(meta(html.EscapeString(tg.name), html.EscapeString(tg.prefix+" "+tg.uri)))
		}
		got, err := tagsOf(strings.NewReader(again.String()))
		if err != nil || !cmp.Equal(got, tags, cmp.AllowUnexported(tag{})) {
			t.Fatalf("%q became %q, %v", tags, got, err)
		}
	})
}
