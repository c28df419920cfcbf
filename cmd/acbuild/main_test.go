// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rkt/rkt/v2/cmd/internal/scripttest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"acbuild": main, "acbuild-script": main})
}

func TestScript(t *testing.T) {
	testscript.Run(t, scripttest.Params())
}
