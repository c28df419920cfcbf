// SPDX-License-Identifier: Apache-2.0

// Command activated serves the sockets it was started with (sd_listen_fds(3)),
// as many connections or datagrams as its argument says, and ends.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stdout, "error:", err)
		os.Exit(9)
	}
}

func serve() error {
	if len(os.Args) != 2 {
		return errors.New("usage: activated NUMBER")
	}
	times, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "sockets", os.Getenv("LISTEN_FDS"), "mine", os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()))
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil {
		return err
	}
	answered := make(chan error)
	for fd := 3; fd < 3+n; fd++ {
		f := os.NewFile(uintptr(fd), "socket")
		if l, err := net.FileListener(f); err == nil {
			fmt.Fprintln(os.Stdout, "listening", l.Addr())
			go func() {
				for {
					answered <- answer(l)
				}
			}()
			continue
		}
		c, err := net.FilePacketConn(f)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, "receiving", c.LocalAddr())
		go func() {
			for {
				answered <- answerPacket(c)
			}
		}()
	}
	for range times {
		if err := <-answered; err != nil {
			return err
		}
	}
	return nil
}

const greeting = "hello from the app"

func answer(l net.Listener) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	_, err = c.Write([]byte(greeting))
	return errors.Join(err, c.Close())
}

func answerPacket(c net.PacketConn) error {
	_, from, err := c.ReadFrom(make([]byte, 16))
	if err != nil {
		return err
	}
	_, err = c.WriteTo([]byte(greeting), from)
	return err
}
