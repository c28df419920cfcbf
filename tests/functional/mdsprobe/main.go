// SPDX-License-Identifier: Apache-2.0

// Command mdsprobe is an app that asks the metadata service:
//
//	mdsprobe wait                        print "url $AC_METADATA_URL" and "ready", end with SIGTERM
//	mdsprobe METHOD URL [FIELD=VALUE...] send a form, print "STATUS CONTENT-TYPE" and the body
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 1 && args[0] == "wait" {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Fprintln(os.Stdout, "url", os.Getenv("AC_METADATA_URL"))
		fmt.Fprintln(os.Stdout, "ready")
		<-c
		return nil
	}
	if len(args) < 2 {
		return errors.New("usage: mdsprobe wait | METHOD URL [FIELD=VALUE...]")
	}
	form := url.Values{}
	for _, kv := range args[2:] {
		name, value, _ := strings.Cut(kv, "=")
		form.Add(name, value)
	}
	q, err := http.NewRequest(args[0], args[1], strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	q.Header.Set("Metadata-Flavor", "AppContainer")
	if args[0] == http.MethodPost {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	fmt.Fprintln(os.Stdout, resp.StatusCode, resp.Header.Get("Content-Type"))
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
