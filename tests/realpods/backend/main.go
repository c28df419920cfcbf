// SPDX-License-Identifier: Apache-2.0

//go:debug containermaxprocs=0

// Command backend is the app behind nginx in the tests of real pods: it puts a
// page into the volume that both share, answers on loopback, and asks nginx
// for both.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "backend:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "serve":
		return serve(args[1], args[2])
	case len(args) == 2 && args[0] == "get":
		body, err := get(args[1])
		if err == nil {
			_, err = os.Stdout.WriteString(body)
		}
		return err
	case len(args) == 3 && args[0] == "exit": // a status, after milliseconds
		status, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		ms, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
		os.Exit(status)
	}
	return errors.New("want serve ADDR DIR, get URL or exit STATUS MS")
}

// serve answers until it is told to stop, which it does in order.
func serve(addr, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	page := fmt.Sprintf("written by %s\n", os.Getenv("AC_APP_NAME"))
	if err := os.WriteFile(dir+"/page.txt", []byte(page), 0o644); err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/hello", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s from %s\n", r.URL.Query().Get("name"), os.Getenv("AC_APP_NAME"))
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	fmt.Fprintln(os.Stdout, "backend listens")
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		fmt.Fprintln(os.Stdout, "backend stops")
		return s.Shutdown(context.WithoutCancel(ctx))
	}
}

// get waits for a server that is not up yet.
func get(url string) (string, error) {
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var r *http.Response
		if r, err = http.Get(url); err != nil {
			continue
		}
		body, readErr := io.ReadAll(r.Body)
		_ = r.Body.Close()
		switch {
		case readErr != nil:
			err = readErr
		case r.StatusCode != http.StatusOK:
			err = fmt.Errorf("%s: %s", url, r.Status)
		default:
			return string(body), nil
		}
	}
	return "", err
}
