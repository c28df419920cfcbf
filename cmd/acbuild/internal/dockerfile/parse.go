// SPDX-License-Identifier: Apache-2.0

// Package dockerfile makes a script of acbuild of a Dockerfile. It does no
// I/O. What a script cannot say is refused or, where the image is the same
// without it, left out with a notice: never done differently in silence.
//
// Source: the Dockerfile reference, https://docs.docker.com/reference/dockerfile/.
package dockerfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// instruction is one instruction; the text has no line breaks.
type instruction struct {
	line int
	name string // upper case
	text string
}

// parse splits a Dockerfile into instructions.
func parse(text string) ([]instruction, error) {
	var list []instruction
	var joined string
	start := 0
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " \t\r")
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "#") {
			if isOtherEscape(trimmed) {
				return nil, fmt.Errorf("line %d: only the escape character \\ is supported", i+1)
			}
			continue
		}
		if trimmed == "" {
			continue
		}
		if joined == "" {
			start = i + 1
		}
		if head, ok := strings.CutSuffix(line, `\`); ok {
			joined += head
			if joined == "" {
				joined = " "
			}
			continue
		}
		list = append(list, newInstruction(start, joined+line))
		joined = ""
	}
	if joined != "" {
		return nil, fmt.Errorf("line %d: the instruction has no end", start)
	}
	return list, nil
}

func isOtherEscape(comment string) bool {
	key, value, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(comment, "#")), "=")
	return ok && strings.EqualFold(strings.TrimSpace(key), "escape") && strings.TrimSpace(value) != `\`
}

func newInstruction(line int, text string) instruction {
	text = strings.TrimSpace(text)
	end := strings.IndexAny(text, " \t")
	if end < 0 {
		end = len(text)
	}
	return instruction{line, strings.ToUpper(text[:end]), strings.TrimSpace(text[end:])}
}

// execForm is the list of an instruction like CMD ["a", "b"].
func execForm(text string) ([]string, bool) {
	var list []string
	if !strings.HasPrefix(text, "[") || json.Unmarshal([]byte(text), &list) != nil {
		return nil, false
	}
	return list, true
}

var errQuote = errors.New("a quote has no end")

// words splits at white space, undoes quotes and backslashes and replaces
// variables, except in single quotes.
func words(text string, vars map[string]string) ([]string, error) {
	var list []string
	var word strings.Builder
	inWord := false
	var quote byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case c == '$' && quote != '\'':
			value, n, err := variable(text[i+1:], vars)
			if err != nil {
				return nil, err
			}
			word.WriteString(value)
			inWord = true
			i += n
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				list = append(list, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errQuote
	}
	if inWord {
		list = append(list, word.String())
	}
	return list, nil
}

// variable returns the value of NAME, {NAME}, {NAME:-word} or {NAME:+word} and
// how much of rest that was.
func variable(rest string, vars map[string]string) (value string, n int, err error) {
	if inner, ok := strings.CutPrefix(rest, "{"); ok {
		end := strings.IndexByte(inner, '}')
		if end < 0 {
			return "", 0, errors.New("${ has no end")
		}
		name, word, op := inner[:end], "", ""
		if at := strings.IndexByte(name, ':'); at >= 0 && at+2 <= len(name) {
			op, word, name = name[at:at+2], name[at+2:], name[:at]
		}
		if !isName(name) || strings.Contains(word, "$") {
			return "", 0, fmt.Errorf("${%s} is not supported", inner[:end])
		}
		switch value = vars[name]; {
		case op == "", op == ":-" && value != "":
		case op == ":-", op == ":+" && value != "":
			value = word
		case op == ":+":
		default:
			return "", 0, fmt.Errorf("${%s} is not supported", inner[:end])
		}
		return value, end + 2, nil
	}
	for n < len(rest) && isName(rest[:n+1]) {
		n++
	}
	if n == 0 {
		return "$", 0, nil
	}
	return vars[rest[:n]], n, nil
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
