// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/discovery"
	"github.com/rkt/rkt/v2/pkg/hint"
	"github.com/rkt/rkt/v2/pkg/keystore"
)

// keyFinder finds where the keys for a prefix are; *discovery.Finder does.
type keyFinder interface {
	Keys(ctx context.Context, prefix string) ([]*url.URL, error)
}

var _ keyFinder = (*discovery.Finder)(nil)

// keyTruster gets keys, has them reviewed and adds them to the keystore.
type keyTruster struct {
	*Deps
	store      *keystore.Store
	finder     keyFinder      // nil: the real one
	roots      *x509.CertPool // nil: those of the host
	allowHTTP  bool
	skipReview bool
	stdin      io.Reader
	terminal   bool               // there is somebody to ask
	say        func(string) error // prints a line, or a question, of the dialogue
	lines      chan answerLine    // what was typed, once the first question was asked
}

// discover finds the locations of the keys for a prefix.
func (t *keyTruster) discover(ctx context.Context, scope keystore.Scope) ([]string, error) {
	if scope == keystore.Root {
		return nil, errors.New("empty prefix")
	}
	finder := t.finder
	if finder == nil {
		finder = &discovery.Finder{HTTP: t.allowHTTP, TLS: t.Global.Insecure.TLS, UserAgent: "rkt/" + version}
	}
	urls, err := finder.Keys(ctx, string(scope))
	if err != nil {
		return nil, fmt.Errorf("prefix meta discovery error: %w", err)
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("meta discovery on %s resulted in no keys", scope)
	}
	locations := make([]string, len(urls))
	for i, u := range urls {
		locations[i] = u.String()
	}
	return locations, nil
}

// trust adds the keys at all locations that the user accepts.
func (t *keyTruster) trust(ctx context.Context, scope keystore.Scope, locations []string) error {
	for _, l := range locations {
		if err := t.trustOne(ctx, scope, l); err != nil {
			return err
		}
	}
	return nil
}

func (t *keyTruster) trustOne(ctx context.Context, scope keystore.Scope, location string) error {
	keys, https, err := t.load(ctx, location)
	if err != nil {
		return err
	}
	t.writeErr(fmt.Sprintf("pubkey: prefix: %q\nkey: %q\n", string(scope), location))
	if err := t.show(keys); err != nil {
		return err
	}
	// Without certificates https says nothing of where the key comes from.
	review := !t.skipReview && (!t.Global.TrustKeysFromHTTPS || !https || t.Global.Insecure.TLS && !t.Global.Insecure.PubKey)
	how := "without fingerprint review."
	if review {
		how = "after fingerprint review."
		ok, err := t.review(ctx, scope)
		if err != nil {
			return fmt.Errorf("error reviewing key: %w", err)
		}
		if !ok {
			t.writeErr(fmt.Sprintf("pubkey: not trusting %q\n", location))
			return nil
		}
	}
	if err := t.say(fmt.Sprintf("Trusting %q for prefix %q %s", location, string(scope), how)); err != nil {
		return err
	}
	added, err := t.store.Add(scope, keys)
	if errors.Is(err, fs.ErrPermission) {
		err = hint.With(err, `run rkt trust as root or as a member of the group "rkt-admin"`)
	}
	if err != nil {
		return err
	}
	if scope == keystore.Root {
		return t.say(fmt.Sprintf("Added root key at %q", added.Path))
	}
	return t.say(fmt.Sprintf("Added key for prefix %q at %q", string(scope), added.Path))
}

// show prints what is to be reviewed.
func (t *keyTruster) show(keys *keystore.Keys) error {
	for _, k := range keys.List {
		lines := []string{"gpg key fingerprint is: " + k.Fingerprint().Pretty()}
		for _, sub := range k.Subkeys() {
			lines = append(lines, "    Subkey fingerprint: "+sub.Pretty())
		}
		for _, id := range k.Identities() {
			lines = append(lines, "\t"+id)
		}
		if err := t.say(strings.Join(lines, "\n")); err != nil {
			return err
		}
		if status := k.Status(t.Now()); status != keystore.Valid {
			t.writeErr(fmt.Sprintf("pubkey: warning: signatures by key %s are refused: %s\n", k.Fingerprint().KeyID(), status))
		}
	}
	return nil
}

const question = "Are you sure you want to trust this key (yes/no)?"

// review asks until the answer is yes or no.
func (t *keyTruster) review(ctx context.Context, scope keystore.Scope) (bool, error) {
	if !t.terminal {
		t.writeErr(fmt.Sprintf("pubkey: To trust the key for %q, do one of the following:\n"+
			" - call rkt with --trust-keys-from-https\n - run: rkt trust --prefix %q\n", string(scope), string(scope)))
		return false, hint.With(errors.New("unable to ask user to review fingerprint due to lack of tty"),
			"compare the fingerprint with one from the publisher and run the command on a terminal, or with --skip-fingerprint-review")
	}
	if err := t.say(question); err != nil {
		return false, err
	}
	for {
		line, err := t.readLine(ctx)
		if err != nil {
			return false, err
		}
		switch line {
		case "yes":
			return true, nil
		case "no":
			return false, nil
		}
		if err := t.say("Please enter 'yes' or 'no'"); err != nil {
			return false, err
		}
	}
}

type answerLine struct {
	text string
	err  error
}

// readLine reads a line and gives up when ctx ends, though the read goes on.
func (t *keyTruster) readLine(ctx context.Context) (string, error) {
	if t.lines == nil {
		t.lines = make(chan answerLine)
		go readLines(ctx, t.stdin, t.lines)
	}
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case l := <-t.lines:
		return l.text, l.err
	}
}

func readLines(ctx context.Context, r io.Reader, out chan<- answerLine) {
	in := bufio.NewScanner(r)
	for {
		l := answerLine{err: io.ErrUnexpectedEOF}
		if in.Scan() {
			l = answerLine{text: strings.TrimSpace(in.Text())}
		} else if in.Err() != nil {
			l.err = in.Err()
		}
		select {
		case out <- l:
		case <-ctx.Done():
			return
		}
		if l.err != nil {
			return
		}
	}
}

// load gets the keys at a location and tells whether they came over https.
func (t *keyTruster) load(ctx context.Context, location string) (keys *keystore.Keys, https bool, err error) {
	u, err := url.Parse(location)
	if _, serr := os.Lstat(location); err != nil || u.Scheme == "" || serr == nil {
		keys, err = keysOfFile(location)
		return keys, false, accessing(location, err)
	}
	switch u.Scheme {
	case "https":
		https = true
	case "http":
		if !t.allowHTTP {
			return nil, false, hint.With(errors.New("--insecure-allow-http required for http URLs"),
				"use an https URL; over http anybody on the way can replace the key")
		}
	default:
		return nil, false, errors.New("only local files and http or https URLs supported")
	}
	keys, err = t.download(ctx, u)
	return keys, https, accessing(location, err)
}

func accessing(location string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("error accessing the key %s: %w", location, err)
}

func keysOfFile(path string) (*keystore.Keys, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return keystore.ReadKeys(f)
}

const (
	keyTimeout      = 2 * time.Minute
	maxKeyRedirects = 10
)

// download gets keys from a web server, without credentials. A redirect does
// not lead from https to http.
func (t *keyTruster) download(ctx context.Context, u *url.URL) (*keystore.Keys, error) {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	plain := *u
	plain.User = nil
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, plain.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "rkt/"+version)
	tr := &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: t.Global.Insecure.TLS, RootCAs: t.roots, MinVersion: tls.VersionTLS12},
	}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		switch {
		case len(via) >= maxKeyRedirects:
			return errors.New("too many redirects")
		case req.URL.Scheme != "https" && via[0].URL.Scheme == "https":
			return errors.New("redirect from https to http refused")
		}
		return nil
	}}
	resp, err := client.Do(req)
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("bad HTTP status code: %d", resp.StatusCode)
	}
	return keystore.ReadKeys(resp.Body)
}

// trustForFetch looks for keys of an image that is to be fetched by name and
// asks to trust them. What goes wrong is said, not returned: the signature decides.
func (d *Deps) trustForFetch(ctx context.Context, name appc.Identifier) {
	t := d.keyTruster()
	// stdout is for image IDs.
	t.say = func(s string) error {
		d.writeErr(s + "\n")
		return nil
	}
	t.forFetch(ctx, name)
}

func (t *keyTruster) forFetch(ctx context.Context, name appc.Identifier) {
	say := func(format string, args ...any) { t.writeErr("image: " + fmt.Sprintf(format, args...) + "\n") }
	has, err := t.store.HasPrefixKeys(name)
	if err != nil {
		return // the verification will say it
	}
	if has {
		say("keys already exist for prefix %q, not fetching again", name)
		return
	}
	in := t.Global.Insecure
	if in.TLS && !in.PubKey {
		return
	}
	if in.PubKey {
		say("signing keys may be downloaded from an insecure connection")
	}
	t.allowHTTP = in.PubKey && in.HTTP
	scope := keystore.Scope(name)
	locations, err := t.discover(ctx, scope)
	if err != nil {
		say("error determining key location: %s", oneLine(err.Error()))
		return
	}
	if err := t.trust(ctx, scope, locations); err != nil {
		say("error adding keys: %s", oneLine(err.Error()))
	}
}
