// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	loIndex     = 1      // of lo, in every network namespace
	statusDNAT  = 1 << 5 // IPS_DST_NAT of enum ip_conntrack_status
	ip4Source   = 12     // offsets in the headers
	ip4Dest     = 16
	ip6Source   = 8
	ip6Dest     = 24
	destination = 2 // port, in the headers of tcp, udp and sctp
)

// exprs is the rule in the language of nf_tables, for a table of family inet.
func (r rule) exprs() []expr.Any {
	var out []expr.Any
	if r.NotLo {
		out = append(out, &expr.Meta{Key: expr.MetaKeyIIF, Register: 1}, differs(binaryutil.NativeEndian.PutUint32(loIndex)))
	}
	if r.Local {
		out = append(out, &expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true}, equals(binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)))
	}
	if r.Translated {
		mask, zero := binaryutil.NativeEndian.PutUint32(statusDNAT), make([]byte, 4)
		out = append(
			out,
			&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: zero},
			differs(zero),
		)
	}
	if a := r.someAddr(); a.IsValid() {
		number := byte(unix.NFPROTO_IPV4)
		if a.Is6() {
			number = unix.NFPROTO_IPV6
		}
		out = append(out, &expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equals([]byte{number}))
	}
	if r.Src.IsValid() {
		out = append(out, inPrefix(r.Src, ip4Source, ip6Source, expr.CmpOpEq)...)
	}
	if r.Dst.IsValid() {
		op := expr.CmpOpEq
		if r.NotDst {
			op = expr.CmpOpNeq
		}
		out = append(out, inPrefix(r.Dst, ip4Dest, ip6Dest, op)...)
	}
	if r.Proto != "" {
		out = append(
			out,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equals([]byte{protoNumber(r.Proto)}),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: destination, Len: 2},
			equals(binaryutil.BigEndian.PutUint16(r.Port)),
		)
	}
	return append(out, r.action()...)
}

// someAddr is an address of the family that the rule is for.
func (r rule) someAddr() netip.Addr {
	for _, a := range []netip.Addr{r.Src.Addr(), r.Dst.Addr(), r.To.Addr()} {
		if a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

func (r rule) action() []expr.Any {
	switch r.Do {
	case masquerade:
		return []expr.Any{&expr.Masq{}}
	case dnat:
		fam := uint32(unix.NFPROTO_IPV4)
		if r.To.Addr().Is6() {
			fam = unix.NFPROTO_IPV6
		}
		return []expr.Any{
			&expr.Immediate{Register: 1, Data: r.To.Addr().AsSlice()},
			&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(r.To.Port())},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: fam, RegAddrMin: 1, RegProtoMin: 2},
		}
	}
	v := &expr.Verdict{Chain: r.Chain}
	switch r.Do {
	case jump:
		v.Kind = expr.VerdictJump
	case drop:
		v.Kind = expr.VerdictDrop
	case nothing:
		v.Kind = expr.VerdictContinue
	default:
		v.Kind = expr.VerdictReturn
	}
	return []expr.Any{v}
}

func equals(data []byte) expr.Any  { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
func differs(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: data} }

func inPrefix(p netip.Prefix, offset4, offset6 uint32, op expr.CmpOp) []expr.Any {
	offset, size := offset4, 4
	if p.Addr().Is6() {
		offset, size = offset6, 16
	}
	out := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(size)}}
	if !p.IsSingleIP() {
		mask := make([]byte, size)
		for bit := range p.Bits() {
			mask[bit/8] |= 0x80 >> (bit % 8)
		}
		out = append(out, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(size), Mask: mask, Xor: make([]byte, size)})
	}
	return append(out, &expr.Cmp{Op: op, Register: 1, Data: p.Masked().Addr().AsSlice()})
}
