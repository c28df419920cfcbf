// SPDX-License-Identifier: Apache-2.0

package front

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

// maxStdin is more than any network configuration has.
const maxStdin = 1 << 20

// Main is the shipped plugin of that name as a program; it returns the exit
// status. args do not have the program's name. "dhcp daemon" does not return:
// the upstream program takes the place of this one.
func Main(ctx context.Context, name string, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	program, err := os.Executable()
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "find the program itself:", err)
		return 1
	}
	e := Exec{Stderr: stderr, Masquerader: hostRules{}}
	return e.main(ctx, own(program, name), args, stdin, stdout, environ)
}

func (e Exec) main(ctx context.Context, p shipped, args []string, stdin io.Reader, stdout io.Writer, environ []string) int {
	version := oldest
	out, err := e.plugin(ctx, p, args, stdin, environ, &version)
	if err == nil {
		_, err = stdout.Write(out)
	}
	if err == nil {
		return 0
	}
	if _, err := stdout.Write(failure(err, version)); err != nil && e.Stderr != nil {
		_, _ = fmt.Fprintln(e.Stderr, err)
	}
	return 1
}

// plugin also tells the version that an error is to be given in.
func (e Exec) plugin(ctx context.Context, p shipped, args []string, stdin io.Reader, environ []string, version *string) ([]byte, error) {
	if !IsPlugin(p.name) {
		return nil, fmt.Errorf("no plugin %q is shipped", p.name)
	}
	if p.name == "dhcp" && len(args) > 0 {
		path := p.upstream()
		return nil, fmt.Errorf("execute %s: %w", path, unix.Exec(path, append([]string{path}, args...), environ))
	}
	var conf []byte
	// Without a command nobody has to write anything.
	if command := environment(environ).get(envCommand); command != "" && command != "VERSION" {
		var err error
		if conf, err = readAll(stdin); err != nil {
			return nil, err
		}
	}
	if c, err := parseConf(conf); err == nil && c.text("cniVersion") != "" {
		*version = c.text("cniVersion")
	}
	return e.call(ctx, p, conf, environ)
}

func readAll(stdin io.Reader) ([]byte, error) {
	conf, err := io.ReadAll(io.LimitReader(stdin, maxStdin+1))
	if err != nil {
		return nil, fmt.Errorf("read network configuration: %w", err)
	}
	if len(conf) > maxStdin {
		return nil, fmt.Errorf("network configuration has more than %d bytes", maxStdin)
	}
	return conf, nil
}

// failure is an error as a plugin has to print it.
func failure(err error, version string) []byte {
	var said *types.Error
	if !isOnly(err, &said) {
		said = types.NewError(types.ErrInternal, err.Error(), "")
	}
	out, _ := json.MarshalIndent(struct {
		CNIVersion string `json:"cniVersion"`
		*types.Error
	}{version, said}, "", "    ")
	return append(out, '\n')
}
