// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// errInterrupted tells that the rules changed while they were read.
var errInterrupted = errors.New("the rules kept changing while they were read")

const (
	headerSize   = 4        // struct nfgenmsg
	maxReply     = 64 << 10 // the kernel makes dumps of 32 KiB at most
	socketBuffer = 8 << 20  // for a batch of thousands of rules
	ipcTimeout   = 30       // seconds until an answer of the kernel
	netlinkAlign = unix.NLA_ALIGNTO
)

// socket is a netlink socket of the calling thread's network namespace. The
// messages and their order are ours: the library's Conn asks for an answer to
// each, hides the error numbers, and does not notice interrupted dumps.
type socket struct {
	fd  int
	seq uint32
}

func dial() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	for _, option := range []int{unix.SO_SNDBUFFORCE, unix.SO_RCVBUFFORCE} {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, socketBuffer) // the default does for a few rules
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: ipcTimeout}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("set timeout of netlink socket: %w", err)
	}
	return &socket{fd: fd}, nil
}

// close does not wait: after deletions, by whomever, the kernel makes who
// closes such a socket wait until no packet can meet what was deleted, some
// 10 ms.
func (s *socket) close() { go unix.Close(s.fd) }

// attr encodes one netlink attribute.
func attr(kind uint16, data []byte) []byte {
	b := make([]byte, 0, 8+len(data))
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return pad(append(b, data...))
}

func pad(b []byte) []byte {
	for len(b)%netlinkAlign != 0 {
		b = append(b, 0)
	}
	return b
}

func attrString(kind uint16, s string) []byte { return attr(kind, append([]byte(s), 0)) }

func attrUint32(kind uint16, v uint32) []byte {
	return attr(kind, binary.BigEndian.AppendUint32(nil, v))
}

func attrUint64(kind uint16, v uint64) []byte {
	return attr(kind, binary.BigEndian.AppendUint64(nil, v))
}

func nested(kind uint16, parts ...[]byte) []byte {
	var data []byte
	for _, p := range parts {
		data = append(data, p...)
	}
	return attr(kind|unix.NLA_F_NESTED, data)
}

// attrs goes over attributes.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofNlAttr || size > len(b) {
				return
			}
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(kind, b[unix.SizeofNlAttr:size]) {
				return
			}
			b = b[min(len(b), (size+netlinkAlign-1)&^(netlinkAlign-1)):]
		}
	}
}

// find returns the attribute below nested ones.
func find(b []byte, path ...uint16) []byte {
	for _, want := range path {
		var found []byte
		for kind, data := range attrs(b) {
			if kind == want {
				found = data
				break
			}
		}
		if found == nil {
			return nil
		}
		b = found
	}
	return b
}

// message encodes one message to nf_tables.
func (s *socket) message(b []byte, kind, flags uint16, fam byte, resource uint16, data []byte) []byte {
	s.seq++
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+headerSize+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, s.seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, fam, unix.NFNETLINK_V0, byte(resource>>8), byte(resource))
	return pad(append(b, data...))
}

func nftKind(kind uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | kind }

func (s *socket) send(b []byte) error {
	for {
		err := unix.Sendto(s.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// reply is one message of the kernel.
type reply struct {
	kind, flags uint16
	seq         uint32
	data        []byte
}

func (s *socket) receive(buf []byte) ([]reply, error) {
	n, _, err := unix.Recvfrom(s.fd, buf, 0)
	if errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("receive from netlink: %w", err)
	}
	var out []reply
	for b := buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return nil, errors.New("receive from netlink: short message")
		}
		out = append(out, reply{
			kind: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
			seq: binary.NativeEndian.Uint32(b[8:]), data: b[unix.SizeofNlMsghdr:size],
		})
		b = b[min(len(b), (size+netlinkAlign-1)&^(netlinkAlign-1)):]
	}
	return out, nil
}

// failure is the error in an acknowledgement.
func (r reply) failure() error {
	if len(r.data) < 4 {
		return errors.New("receive from netlink: short acknowledgement")
	}
	if code := int32(binary.NativeEndian.Uint32(r.data)); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// ask sends one request and hands over what comes back, until it ends.
func (s *socket) ask(kind, flags uint16, fam byte, data []byte, each func([]byte)) error {
	if err := s.send(s.message(nil, nftKind(kind), flags, fam, 0, data)); err != nil {
		return err
	}
	interrupted := false
	buf := make([]byte, maxReply)
	for {
		replies, err := s.receive(buf)
		if err != nil {
			return err
		}
		for _, r := range replies {
			if r.seq != s.seq {
				continue
			}
			interrupted = interrupted || r.flags&unix.NLM_F_DUMP_INTR != 0
			switch {
			case r.kind == unix.NLMSG_ERROR:
				return r.failure()
			case r.kind == unix.NLMSG_DONE && interrupted:
				return errInterrupted
			case r.kind == unix.NLMSG_DONE:
				return nil
			case len(r.data) >= headerSize:
				each(r.data[headerSize:])
			}
		}
	}
}

// batch gathers changes that come into force together.
type batch struct {
	s     *socket
	items []item
}

type item struct {
	kind, flags uint16
	data        []byte
}

func (b *batch) add(kind, flags uint16, parts ...[]byte) {
	var data []byte
	for _, p := range parts {
		data = append(data, p...)
	}
	b.items = append(b.items, item{nftKind(kind), flags, data})
}

// commit applies the batch as one transaction, or nothing of it. Only the last
// change is acknowledged; errors are told of any.
func (b *batch) commit() error {
	if len(b.items) == 0 {
		return nil
	}
	raw := b.s.message(nil, unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	for i, it := range b.items {
		if i == len(b.items)-1 {
			it.flags |= unix.NLM_F_ACK
		}
		raw = b.s.message(raw, it.kind, it.flags, unix.NFPROTO_INET, 0, it.data)
	}
	last := b.s.seq
	raw = b.s.message(raw, unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, nil)
	if err := b.s.send(raw); err != nil {
		return fmt.Errorf("send rules: %w", err)
	}
	buf := make([]byte, maxReply)
	for {
		replies, err := b.s.receive(buf)
		if err != nil {
			return err
		}
		for _, r := range replies {
			if r.kind != unix.NLMSG_ERROR {
				continue
			}
			if err := r.failure(); err != nil {
				return fmt.Errorf("change rules: %w", err)
			}
			if r.seq == last {
				return nil
			}
		}
	}
}

const (
	maxTries    = 30               // of transactions that met others
	maxWatching = 10 * time.Second // for a moment in which rules can be read
)

// retry runs the operation again, on a socket of its own, when it failed for
// what somebody else changed meanwhile.
func retry(op func(*socket) error) error {
	deadline := time.Now().Add(maxWatching)
	for tries := 0; ; {
		err := once(op)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errInterrupted) && time.Now().Before(deadline):
		case isConflict(err) && tries < maxTries:
			tries++
		default:
			return err
		}
		time.Sleep(rand.N(time.Duration(min(tries, 10)+1) * time.Millisecond))
	}
}

func once(op func(*socket) error) error {
	s, err := dial()
	if err != nil {
		return err
	}
	defer s.close()
	return op(s)
}

func isConflict(err error) bool {
	for _, e := range []unix.Errno{unix.EBUSY, unix.EEXIST, unix.ENOENT, unix.EAGAIN, unix.EINTR, unix.ERESTART} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
