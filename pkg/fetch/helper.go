// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

var helperName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// noCredentials is what helpers print when they have nothing for a server.
const noCredentials = "credentials not found in native keychain"

// tokenUser marks a secret that is a refresh token.
const tokenUser = "<token>"

// helperAllowed tells whether a program named by a file may be run: not with
// more rights than the owner of the file has.
func helperAllowed(euid, uid int, owner uint32) bool {
	return euid == uid && (euid != 0 || owner == 0)
}

// ask runs docker-credential-NAME without a shell. What it prints is a secret
// and never shown.
func (a *authFile) ask(ctx context.Context, helper, server string) (authn.AuthConfig, error) {
	if !helperName.MatchString(helper) {
		return authn.AuthConfig{}, fmt.Errorf("%s: invalid credential helper name %q", a.path, helper)
	}
	if !helperAllowed(os.Geteuid(), os.Getuid(), a.uid) {
		return authn.AuthConfig{}, fmt.Errorf("credential helper %q is not run for the file %s of another user", helper, a.path)
	}
	program := "docker-credential-" + helper
	out, err := runHelper(ctx, program, server)
	if err != nil {
		if strings.Contains(string(out), noCredentials) {
			return authn.AuthConfig{}, nil
		}
		return authn.AuthConfig{}, fmt.Errorf("credential helper %s: %w", program, err)
	}
	var reply struct{ Username, Secret string }
	if err := json.Unmarshal(out, &reply); err != nil {
		return authn.AuthConfig{}, fmt.Errorf("credential helper %s: its answer is not JSON", program)
	}
	if reply.Username == tokenUser {
		return authn.AuthConfig{IdentityToken: reply.Secret}, nil
	}
	return authn.AuthConfig{Username: reply.Username, Password: reply.Secret}, nil
}

func runHelper(ctx context.Context, program, server string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	var out capped
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin = strings.NewReader(server)
	cmd.Stdout = &out
	// A child of the helper could keep the pipe open after the helper was killed.
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.buffer.Bytes(), err
}

// capped is a buffer that refuses to grow without end. The buffer is not
// embedded: io.Copy would use its ReadFrom, which has no end.
type capped struct{ buffer bytes.Buffer }

var errHelperOutput = errors.New("too much output")

func (c *capped) Write(p []byte) (int, error) {
	if c.buffer.Len()+len(p) > maxHelperReply {
		return 0, errHelperOutput
	}
	return c.buffer.Write(p)
}
