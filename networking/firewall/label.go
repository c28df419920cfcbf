// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// A label is a name as comments carry it: quoted as Go does, in ASCII, without
// the outer quotes. One that is too long is cut and ends in a digest; the mark
// before the digest is no escape sequence, so no name is quoted to it.
const (
	cutMark      = `\~`
	cutDigest    = 24 // hexadecimal digits
	idLabel      = 64 // nft takes comments of 127 bytes, of which 15 are the frame of networkComment
	networkLabel = 48
	pieceLength  = 40
)

func label(name string, limit int) string {
	q := quoted(name)
	if len(q) <= limit {
		return q
	}
	cut := limit - len(cutMark) - cutDigest
	return wholeEscapes(q, cut) + cutMark + digest(name)[:cutDigest]
}

// isCut tells whether a label lacks a part of the name. Where the mark would
// be, an escaped backslash and a tilde look alike but for the escape.
func isCut(l string) bool {
	_, err := strconv.Unquote(`"` + l + `"`)
	return err != nil
}

// quoted is the text in ASCII, without quotes even where it has some.
func quoted(s string) string {
	q := strconv.QuoteToASCII(s)
	return quotes.Replace(q[1 : len(q)-1])
}

// quotes leaves a backslash alone with what it escapes.
var quotes = strings.NewReplacer(`\\`, `\\`, `\"`, `\x22`, `'`, `\x27`)

// nftQuote is the quote in comments of nf_tables. A double one would do as
// well for the kernel, but nft(8) prints it as it is and cannot read that again:
// a saved "nft list ruleset" would not load.
const nftQuote = `'`

func toNft(comment string) string   { return strings.ReplaceAll(comment, `"`, nftQuote) }
func fromNft(comment string) string { return strings.ReplaceAll(comment, nftQuote, `"`) }

// wholeEscapes is the beginning of a quoted text, cut between characters.
func wholeEscapes(q string, limit int) string {
	end := 0
	for rest := q; rest != ""; {
		_, _, tail, err := strconv.UnquoteChar(rest, '"')
		if err != nil || len(q)-len(tail) > limit {
			break
		}
		rest, end = tail, len(q)-len(tail)
	}
	return q[:end]
}

// digest tells lists of names apart, whatever bytes they have.
func digest(names ...string) string {
	h := sha256.New()
	for _, n := range names {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(n)))
		h.Write(size[:])
		h.Write([]byte(n))
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

func idComment(id string) string { return `id: "` + label(id, idLabel) + `"` }

func networkComment(network, id string) string {
	return `name: "` + label(network, networkLabel) + `" ` + idComment(id)
}

// tag is what a comment says about the owner of a rule.
type tag struct {
	network    string // label
	hasNetwork bool
	id         string // label
	rest       string
}

// parseTag reads a comment that idComment or networkComment begin.
func parseTag(comment string) (tag, bool) {
	var t tag
	if rest, ok := strings.CutPrefix(comment, `name: "`); ok {
		t.hasNetwork = true
		if t.network, comment, ok = cutLabel(rest); !ok {
			return tag{}, false
		}
		if comment, ok = strings.CutPrefix(comment, " "); !ok {
			return tag{}, false
		}
	}
	rest, ok := strings.CutPrefix(comment, `id: "`)
	if !ok {
		return tag{}, false
	}
	t.id, t.rest, ok = cutLabel(rest)
	return t, ok && t.id != ""
}

// cutLabel splits at the quote that ends a label.
func cutLabel(s string) (before, after string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// owner tells whether a comment names the ID.
func owner(comment, id string) bool {
	t, ok := parseTag(comment)
	return ok && t.id == label(id, idLabel)
}

// ownerNetwork tells whether a comment names the network of the ID.
func ownerNetwork(comment, id, network string) bool {
	t, ok := parseTag(comment)
	return ok && t.id == label(id, idLabel) && t.hasNetwork && t.network == label(network, networkLabel)
}

// pieces are the comments of rules without effect that hold an ID whose label
// was cut.
func pieces(id string) []string {
	q := quoted(id)
	if len(q) <= idLabel {
		return nil
	}
	var out []string
	for n := 1; q != ""; n++ {
		part := wholeEscapes(q, pieceLength)
		q = q[len(part):]
		out = append(out, fmt.Sprintf(`%s part %d: "%s"`, idComment(id), n, part))
	}
	return out
}

// names gathers IDs from labels, and the cut ones from their pieces.
type names map[string]map[int]string

func (n names) add(comment string) {
	t, ok := parseTag(comment)
	if !ok {
		return
	}
	parts := n[t.id]
	if parts == nil {
		parts = map[int]string{}
		n[t.id] = parts
	}
	var number int
	if _, err := fmt.Sscanf(t.rest, " part %d:", &number); err != nil {
		return
	}
	if _, part, ok := strings.Cut(t.rest, `: "`); ok {
		parts[number] = strings.TrimSuffix(part, `"`)
	}
}

// ids are the names whole. One whose pieces somebody deleted is left out.
func (n names) ids() []string {
	var out []string
	for l, parts := range n {
		q := l
		if isCut(l) {
			q = ""
			for i := 1; i <= len(parts); i++ {
				q += parts[i]
			}
		}
		id, err := strconv.Unquote(`"` + q + `"`)
		if err == nil && id != "" && label(id, idLabel) == l {
			out = append(out, id)
		}
	}
	return out
}
