// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/pkg/ociconv"
)

// downloadFlags say how images are downloaded. The zero value is the default.
type downloadFlags struct {
	platform   platformFlag
	concurrent concurrentFlag
	stall      stallFlag
}

func (f *downloadFlags) bind(flags *pflag.FlagSet) {
	flags.Var(&f.platform, "platform", "which image to take where a registry or image layout has one for each of several platforms, "+
		"as OS/ARCH[/VARIANT] (example: '--platform=linux/arm64'); the host's if not set")
	flags.Var(&f.concurrent, "max-concurrent-downloads", fmt.Sprintf("how many layers of an image to download at once, at most %d; 3 if not set", maxConcurrent))
	flags.Var(&f.stall, "stall-timeout", fmt.Sprintf("give a server up that sends nothing, or less than 512 bytes a second, for this long, "+
		"from %s to %s; 2m if not set", minStall, maxStall))
}

// platformFlag is --platform; the zero value is not given.
type platformFlag ociconv.Platform

func (f *platformFlag) Set(s string) error {
	p, err := ociconv.ParsePlatform(s)
	if err != nil {
		return err
	}
	*f = platformFlag(p)
	return nil
}

func (f *platformFlag) String() string {
	if *f == (platformFlag{}) {
		return ""
	}
	return ociconv.Platform(*f).String()
}

func (f *platformFlag) Type() string { return "platform" }

// maxConcurrent keeps a typing error from opening thousands of connections.
const maxConcurrent = 64

// concurrentFlag is --max-concurrent-downloads; 0 is not given.
type concurrentFlag int

func (f *concurrentFlag) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxConcurrent {
		return fmt.Errorf("must be a number from 1 to %d", maxConcurrent)
	}
	*f = concurrentFlag(n)
	return nil
}

func (f *concurrentFlag) String() string {
	if *f == 0 {
		return ""
	}
	return strconv.Itoa(int(*f))
}

func (f *concurrentFlag) Type() string { return "number" }

// Bounds of --stall-timeout: the network's own hiccups, and somebody who waits.
const (
	minStall = time.Second
	maxStall = time.Hour
)

// stallFlag is --stall-timeout; 0 is not given.
type stallFlag time.Duration

func (f *stallFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < minStall || d > maxStall {
		return fmt.Errorf("must be a duration from %s to %s", minStall, maxStall)
	}
	*f = stallFlag(d)
	return nil
}

func (f *stallFlag) String() string {
	if *f == 0 {
		return ""
	}
	return time.Duration(*f).String()
}

func (f *stallFlag) Type() string { return "duration" }
