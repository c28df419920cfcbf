// SPDX-License-Identifier: Apache-2.0

package hostport

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const unknownHolder = "another process"

// holder says who has a port, by the files of a proc file system. That is for
// people: the answer may be out of date, and it is not complete.
func holder(proc, protocol string, addr netip.AddrPort) string {
	sockets := socketsAt(proc, protocol, addr)
	if len(sockets) == 0 {
		return unknownHolder
	}
	for _, pid := range pids(proc) {
		if hasSocket(proc, pid, sockets) {
			return describe(proc, pid)
		}
	}
	return unknownHolder
}

// socket is a line of /proc/net/tcp, udp and so on. See proc_net(5).
type socket struct {
	local  netip.AddrPort
	listen bool
	inode  string
}

// socketsAt returns the links of the sockets that keep an address from being
// bound: the listening ones, or others if there are none, and those of the same
// kind of address before sockets for both kinds.
func socketsAt(proc, protocol string, addr netip.AddrPort) []string {
	tables := []string{protocol, protocol + "6"}
	if addr.Addr().Is6() {
		tables = tables[1:]
	}
	var listening, others [][]string
	for _, table := range tables {
		var l, o []string
		for _, s := range readTable(filepath.Join(proc, "net", table)) {
			switch link := "socket:[" + s.inode + "]"; {
			case !s.covers(addr):
			case s.listen:
				l = append(l, link)
			default:
				o = append(o, link)
			}
		}
		listening, others = append(listening, l), append(others, o)
	}
	for _, links := range append(listening, others...) {
		if len(links) > 0 {
			return links
		}
	}
	return nil
}

// covers says whether a socket keeps an address from being bound. Whether one
// for :: takes IPv4, too, cannot be seen; it usually does.
func (s socket) covers(addr netip.AddrPort) bool {
	a, b := s.local.Addr(), addr.Addr().WithZone("")
	both := b.Is4() && a == netip.IPv6Unspecified()
	return s.local.Port() == addr.Port() && (both || a.Is4() == b.Is4() && (a == b || a.IsUnspecified() || b.IsUnspecified()))
}

func readTable(path string) []socket {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	return parseTable(f)
}

// parseTable skips what it does not understand, such as the heading.
func parseTable(r io.Reader) (list []socket) {
	const local, state, inode = 1, 3, 9
	const listen = "0A" // TCP_LISTEN
	for sc := bufio.NewScanner(r); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) <= inode || fields[inode] == "0" {
			continue
		}
		if addr, ok := parseAddr(fields[local]); ok {
			list = append(list, socket{addr, fields[state] == listen, fields[inode]})
		}
	}
	return list
}

// parseAddr reads an address that the kernel printed as words of 32 bits in the
// machine's byte order, and a port.
func parseAddr(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	b, err := hex.DecodeString(host)
	if err != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(b, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), ok
}

// pids returns the processes, the oldest first as far as numbers tell.
func pids(proc string) (list []int) {
	entries, _ := os.ReadDir(proc)
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid > 0 {
			list = append(list, pid)
		}
	}
	slices.Sort(list)
	return list
}

func hasSocket(proc string, pid int, links []string) bool {
	dir := filepath.Join(proc, strconv.Itoa(pid), "fd")
	entries, _ := os.ReadDir(dir)
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		link, err := os.Readlink(filepath.Join(dir, e.Name()))
		return err == nil && slices.Contains(links, link)
	})
}

// describe names a process, or its pod if it is a supervisor.
func describe(proc string, pid int) string {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	if cwd, err := os.Readlink(filepath.Join(dir, "cwd")); err == nil {
		if uuid, ok := podOf(cwd); ok {
			return "pod " + uuid
		}
	}
	comm, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	name := strings.TrimSuffix(string(comm), "\n")
	if q := strconv.Quote(name); q != `"`+name+`"` {
		name = q
	}
	return fmt.Sprintf("%s (process %d)", name, pid)
}

// podOf tells the pod of a running pod's directory, where its supervisor works.
func podOf(cwd string) (uuid string, ok bool) {
	run, uuid := filepath.Split(cwd)
	return uuid, strings.HasSuffix(run, "/pods/run/") && isUUID(uuid)
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		if isDash := i == 8 || i == 13 || i == 18 || i == 23; isDash != (c == '-') || !isDash && !strings.ContainsRune("0123456789abcdef", c) {
			return false
		}
	}
	return true
}
