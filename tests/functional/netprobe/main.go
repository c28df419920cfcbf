// SPDX-License-Identifier: Apache-2.0

// Command netprobe is both ends of the traffic in tests of networks:
//
//	netprobe serve NAME PROTO:[ADDRESS]:PORT...   answer each line or datagram with "NAME saw PEER"
//	netprobe ask [-t TIMEOUT] PROTO ADDRESS:PORT  print the answer
//	netprobe show [FILE...]                       print interfaces, addresses, routes and files
//	netprobe notify STATE                         tell the service manager (sd_notify(3))
//
// As a CNI plugin it writes down how it was called, in files beside itself, and
// gives out 11.22.33.44; under the name "failing" it fails.
//
// PROTO is tcp or udp. Serve prints "ready" once it listens everywhere.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "netprobe:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	switch {
	case len(args) == 0 && os.Getenv("CNI_COMMAND") != "":
		return plugin(os.Getenv("CNI_COMMAND"), out)
	case len(args) > 2 && args[0] == "serve":
		return serve(args[1], args[2:], out)
	case len(args) > 2 && args[0] == "ask":
		return ask(args[1:], out)
	case len(args) > 0 && args[0] == "show":
		return show(args[1:], out)
	case len(args) == 2 && args[0] == "notify":
		return notify(args[1])
	}
	return errors.New("usage: netprobe serve|ask|show|notify")
}

// notify sends a state and stays until the service manager has read it, which
// must find out whose process this is (sd_notify_barrier(3)).
func notify(state string) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte(state)); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) {
		sent = syscall.Sendmsg(int(fd), []byte("BARRIER=1"), syscall.UnixRights(int(w.Fd())), nil, 0)
	}); err != nil || sent != nil {
		return errors.Join(err, sent)
	}
	_ = w.Close()
	_, err = io.Copy(io.Discard, r) // until the last copy of w is closed
	return err
}

func serve(name string, where []string, out io.Writer) error {
	failed := make(chan error)
	for _, w := range where {
		proto, addr, _ := strings.Cut(w, ":")
		if proto == "tcp" {
			l, err := net.Listen(proto, addr)
			if err != nil {
				return err
			}
			go func() { failed <- serveTCP(name, l) }()
			continue
		}
		addrs, err := each(addr)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			c, err := net.ListenPacket(proto, a)
			if err != nil {
				return err
			}
			go func() { failed <- serveUDP(name, c) }()
		}
	}
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	return <-failed
}

// each is an address, or if it has no host those of all interfaces: answers to
// datagrams are to come from the address that was asked.
func each(addr string) (all []string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host != "" {
		return []string{addr}, err
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			all = append(all, net.JoinHostPort(n.IP.String(), port))
		}
	}
	return all, nil
}

func serveTCP(name string, l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }()
			for s := bufio.NewScanner(c); s.Scan(); {
				if _, err := io.WriteString(c, answer(name, c.RemoteAddr())); err != nil {
					return
				}
			}
		}()
	}
}

func serveUDP(name string, c net.PacketConn) error {
	buf := make([]byte, 64)
	for {
		_, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		_, _ = c.WriteTo([]byte(answer(name, from)), from) // the other end may be gone
	}
}

func answer(name string, peer net.Addr) string {
	a, err := netip.ParseAddrPort(peer.String())
	if err != nil {
		return err.Error() + "\n"
	}
	return name + " saw " + a.Addr().Unmap().String() + "\n"
}

func ask(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("ask", flag.ContinueOnError)
	timeout := fs.Duration("t", 5*time.Second, "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 2 {
		return errors.New("usage: netprobe ask [-t TIMEOUT] PROTO ADDRESS:PORT")
	}
	end := time.Now().Add(*timeout)
	c, err := net.DialTimeout(fs.Arg(0), fs.Arg(1), *timeout)
	for errors.Is(err, syscall.ECONNREFUSED) && time.Now().Before(end) { // the server may be about to start
		time.Sleep(100 * time.Millisecond)
		c, err = net.DialTimeout(fs.Arg(0), fs.Arg(1), *timeout)
	}
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for {
		if _, err = io.WriteString(c, "?\n"); err != nil {
			return err
		}
		wait := end
		if again := time.Now().Add(500 * time.Millisecond); fs.Arg(0) == "udp" && again.Before(end) {
			wait = again // a datagram may be lost
		}
		if err := c.SetReadDeadline(wait); err != nil {
			return err
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		switch {
		case err == nil:
			_, err = io.WriteString(out, line)
			return err
		case !errors.Is(err, os.ErrDeadlineExceeded) || wait.Equal(end):
			return err
		}
	}
}

func show(files []string, out io.Writer) error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	var lines []string
	for _, l := range links {
		lines = append(lines, fmt.Sprintf("link %s %s mtu %d", l.Name, l.Flags&net.FlagUp, l.MTU))
		addrs, err := l.Addrs()
		if err != nil {
			return err
		}
		for _, a := range addrs {
			lines = append(lines, fmt.Sprintf("addr %s %s", l.Name, a))
		}
	}
	lines = append(lines, routes4()...)
	lines = append(lines, routes6()...)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			lines = append(lines, "no file "+f)
			continue
		}
		lines = append(lines, "file "+f, string(data))
	}
	_, err = fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

// routes4 reads /proc/net/route, where addresses are words in the machine's
// byte order.
func routes4() (lines []string) {
	data, _ := os.ReadFile("/proc/net/route")
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 8 || f[0] == "Iface" {
			continue
		}
		mask, _ := word(f[7]).MarshalBinary()
		ones, _ := net.IPMask(mask).Size()
		lines = append(lines, fmt.Sprintf("route %s %s via %s", f[0], netip.PrefixFrom(word(f[1]), ones), word(f[2])))
	}
	return lines
}

func word(s string) netip.Addr {
	n, _ := strconv.ParseUint(s, 16, 32)
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(n))
	return netip.AddrFrom4(b)
}

func routes6() (lines []string) {
	data, _ := os.ReadFile("/proc/net/ipv6_route")
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 10 || f[9] == "lo" {
			continue
		}
		ones, _ := strconv.ParseUint(f[1], 16, 8)
		lines = append(lines, fmt.Sprintf("route %s %s via %s", f[9], netip.PrefixFrom(addr6(f[0]), int(ones)), addr6(f[4])))
	}
	return lines
}

func addr6(s string) netip.Addr {
	b, _ := hex.DecodeString(s)
	a, _ := netip.AddrFromSlice(b)
	return a
}

func plugin(command string, out io.Writer) error {
	conf, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	env := strings.Join(os.Environ(), "\n") + "\n"
	if err := errors.Join(os.WriteFile(os.Args[0]+"."+command, conf, 0o644), os.WriteFile(os.Args[0]+"."+command+".env", []byte(env), 0o644)); err != nil {
		return err
	}
	if command != "ADD" {
		return nil
	}
	if strings.HasSuffix(os.Args[0], "failing") {
		_, _ = io.WriteString(out, `{"cniVersion": "0.1.0", "code": 107, "msg": "no luck", "details": "today"}`)
		return errors.New("this goes to the log")
	}
	_, err = io.WriteString(out, `{"cniVersion": "0.1.0", "ip4": {"ip": "11.22.33.44/20", "gateway": "11.22.32.1"}}`)
	return err
}
