// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// quote makes one word of a line for iptables-restore, which knows double
// quotes with backslashes in them. What it cannot carry is an error.
func quote(word string) (string, error) {
	plain := word != ""
	for i := range len(word) {
		c := word[i]
		switch {
		case c < 0x20 || c >= 0x7f:
			return "", fmt.Errorf("%q cannot be written in a rule", word)
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_./:,[]!", c) >= 0:
		default:
			plain = false
		}
	}
	if plain {
		return word, nil
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`, nil
}

// line quotes words and joins them.
func line(words []string) (string, error) {
	out := make([]string, len(words))
	for i, w := range words {
		q, err := quote(w)
		if err != nil {
			return "", err
		}
		out[i] = q
	}
	return strings.Join(out, " "), nil
}

// split is the inverse of line, and reads what iptables-save prints.
func split(s string) ([]string, error) {
	var out []string
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			return out, nil
		}
		if s[0] != '"' {
			word, rest, _ := strings.Cut(s, " ")
			out, s = append(out, word), rest
			continue
		}
		word, rest, err := splitQuoted(s[1:])
		if err != nil {
			return nil, err
		}
		out, s = append(out, word), rest
	}
}

func splitQuoted(s string) (word, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errors.New("unfinished quotes")
}

// saved is what iptables-save prints, or what is to be restored: the rules of
// chains of tables.
type saved struct {
	policies map[tableChain]string // "-" for chains of users
	rules    []xtRule
}

type tableChain struct{ table, chain string }

// xtRule is a rule in the words of iptables, without "-A CHAIN".
type xtRule struct {
	table, chain string
	words        []string
}

// after is the word that follows an option.
func (r xtRule) after(option string) string {
	if i := slices.Index(r.words, option); i >= 0 && i+1 < len(r.words) {
		return r.words[i+1]
	}
	return ""
}

func (r xtRule) comment() string { return r.after("--comment") }

// key is equal for equal rules, in whatever order their words are printed.
func (r xtRule) key() string {
	var words []string
	for i := 0; i < len(r.words); i++ {
		if r.words[i] == "-m" {
			i++ // matches are printed or not where the protocol implies them
			continue
		}
		words = append(words, r.words[i])
	}
	slices.Sort(words)
	return r.table + "\x00" + r.chain + "\x00" + strings.Join(words, "\x00")
}

// parseSave reads the output of iptables-save. Lines it does not understand
// are not ours and left out.
func parseSave(text string) saved {
	s := saved{policies: map[tableChain]string{}}
	table := ""
	for l := range strings.Lines(text) {
		l = strings.TrimRight(l, "\n")
		switch {
		case strings.HasPrefix(l, "*"):
			table = l[1:]
		case strings.HasPrefix(l, ":"):
			if f := strings.Fields(l[1:]); len(f) >= 2 {
				s.policies[tableChain{table, f[0]}] = f[1]
			}
		case strings.HasPrefix(l, "-A "):
			if words, err := split(l); err == nil && len(words) > 2 {
				s.rules = append(s.rules, xtRule{table, words[1], words[2:]})
			}
		}
	}
	return s
}

func (s saved) keys() map[string]bool {
	out := map[string]bool{}
	for _, r := range s.rules {
		out[r.key()] = true
	}
	return out
}

// script is the input of iptables-restore: by table, new chains first.
type script struct {
	tables []string
	chains map[string][]string
	lines  map[string][][]string
}

func (s *script) table(name string) {
	if s.chains == nil {
		s.chains, s.lines = map[string][]string{}, map[string][][]string{}
	}
	if !slices.Contains(s.tables, name) {
		s.tables = append(s.tables, name)
	}
}

// newChain declares a chain, which would empty one that exists.
func (s *script) newChain(table, chain string) {
	s.table(table)
	if !slices.Contains(s.chains[table], chain) {
		s.chains[table] = append(s.chains[table], chain)
	}
}

func (s *script) do(table string, words ...string) {
	s.table(table)
	s.lines[table] = append(s.lines[table], words)
}

func (s *script) empty() bool { return len(s.tables) == 0 }

func (s *script) text() (string, error) {
	var b strings.Builder
	for _, t := range s.tables {
		fmt.Fprintf(&b, "*%s\n", t)
		for _, c := range s.chains[t] {
			q, err := quote(c)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, ":%s - [0:0]\n", q)
		}
		for _, words := range s.lines[t] {
			l, err := line(words)
			if err != nil {
				return "", err
			}
			b.WriteString(l + "\n")
		}
		b.WriteString("COMMIT\n")
	}
	return b.String(), nil
}
