// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdMkKey is "mkkey NAME": a key of NAME@example.com. NAME.asc gets the
// public key, NAME.secret the secret one, $NAME the fingerprint.
func cmdMkKey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mkkey NAME")
	}
	name := args[0]
	made := time.Now().Add(-time.Hour)
	e, err := openpgp.NewEntity(name, "", name+"@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made },
	})
	ts.Check(err)
	var public, secret bytes.Buffer
	ts.Check(e.Serialize(&public))
	ts.Check(e.SerializePrivate(&secret, nil))
	writeArmored(ts, name+".asc", "PGP PUBLIC KEY BLOCK", public.Bytes())
	writeArmored(ts, name+".secret", "PGP PRIVATE KEY BLOCK", secret.Bytes())
	ts.Setenv(name, hex.EncodeToString(e.PrimaryKey.Fingerprint))
}

func writeArmored(ts *testscript.TestScript, path, kind string, data []byte) {
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	ts.Check(err)
	_, err = w.Write(data)
	ts.Check(err)
	ts.Check(w.Close())
	out.WriteByte('\n')
	ts.Check(os.WriteFile(ts.MkAbs(path), out.Bytes(), 0o644))
}

// cmdSign is "sign FILE NAME": FILE.asc is a signature by the key of mkkey NAME.
func cmdSign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sign FILE NAME")
	}
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(ts.ReadFile(args[1] + ".secret")))
	ts.Check(err)
	var out bytes.Buffer
	ts.Check(openpgp.DetachSign(&out, ring[:1], strings.NewReader(ts.ReadFile(args[0])), nil))
	writeArmored(ts, args[0]+".asc", "PGP SIGNATURE", out.Bytes())
}

// cmdServes is "serves": $HTTP and $HTTPS are servers of the work directory.
// The certificate of the latter is of nobody.
func cmdServes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: serves")
	}
	files := http.FileServer(http.Dir(ts.MkAbs(".")))
	plain, tls := httptest.NewServer(files), httptest.NewTLSServer(files)
	ts.Defer(plain.Close)
	ts.Defer(tls.Close)
	ts.Setenv("HTTP", plain.URL)
	ts.Setenv("HTTPS", tls.URL)
}
