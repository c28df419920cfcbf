// SPDX-License-Identifier: Apache-2.0

//go:debug containermaxprocs=0

// Command attacker is the program of the images of tests/escape. Its first
// argument says what it tries. Success of the attacker is failure of the test.
// What it would change on the host it only opens, and never writes to.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stdout, "ESCAPED start: no arguments")
		os.Exit(99)
	}
	if p := os.Getenv("ATTACKER_OUT"); p != "" { // where its terminal is not read
		f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
		if err != nil {
			os.Exit(97)
		}
		os.Stdout = f
	}
	if err := act(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "attacker: %s: %v\n", os.Args[1], err)
		os.Exit(98)
	}
}

func act(what string, args []string) error {
	switch what {
	case "deeds":
		return deeds(args)
	case "deed":
		return deed(args)
	case "look":
		return look(args)
	case "scribble":
		return scribble()
	case "report":
		return report()
	case "sleep":
		return rest(args)
	case "both": // say what it is, then wait
		if err := report(); err != nil {
			return err
		}
		return rest(nil)
	case "nap":
		time.Sleep(50 * time.Millisecond)
		return nil
	case "stop":
		return os.WriteFile("/tmp/stop", nil, 0o644)
	case "stop-later":
		time.Sleep(500 * time.Millisecond)
		return os.WriteFile(args[0], nil, 0o644)
	case "swap":
		return swap(args)
	case "victim":
		return victim(args)
	case "inspect":
		return inspect(args)
	case "hunt":
		return hunt(args)
	case "tty":
		return terminal()
	case "exec":
		return become(args)
	case "euid":
		return sayEUID()
	}
	return errors.New("unknown word")
}

// escaped and refused print a result.
func escaped(name, format string, args ...any) {
	fmt.Fprintf(os.Stdout, "ESCAPED %s: %s\n", name, oneLine(fmt.Sprintf(format, args...)))
}

func refused(name string, err error) {
	fmt.Fprintf(os.Stdout, "refused %s: %s\n", name, oneLine(err.Error()))
}

func done() { fmt.Fprintln(os.Stdout, "done") }

func oneLine(s string) string {
	q := fmt.Sprintf("%+q", s)
	return q[1 : len(q)-1]
}
