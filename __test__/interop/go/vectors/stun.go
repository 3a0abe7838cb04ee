package vectors

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"tailscale.com/net/stun"
)

var txID = stun.TxID{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
var otherTxID = stun.TxID{0x00, 0xff, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xa0}

func stunVectors() object {
	return object{
		{"requests", group("net/stun Request", object{
			{"ones", object{{"txId", hexOf(txID[:])}, {"hex", hexOf(stun.Request(txID))}}},
			{"mixed", object{{"txId", hexOf(otherTxID[:])}, {"hex", hexOf(stun.Request(otherTxID))}}},
		})},
		{"responses", stunResponses()},
		{"accepts", stunAccepts()},
	}
}

func stunResponses() object {
	response := func(id stun.TxID, address string) object {
		ap := netip.MustParseAddrPort(address)
		hex := stun.Response(id, ap)
		gotID, got, err := stun.ParseResponse(hex)
		check(err)
		if gotID != id || got != netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()) {
			failf("STUN response for %v reads as %v", ap, got)
		}
		return object{{"txId", hexOf(id[:])}, {"address", address}, {"hex", hexOf(hex)}}
	}
	return group("net/stun Response, read back by ParseResponse", object{
		{"ipv4", response(txID, "1.2.3.4:254")},
		{"ipv4Mixed", response(otherTxID, "203.0.113.200:65535")},
		{"ipv6", response(txID, "[1::4]:254")},
		{"ipv6Mixed", response(otherTxID, "[2001:db8:1:2:3:4:5:6]:3478")},
	})
}

// stunAccepts is which datagrams get an answer; all others get none.
func stunAccepts() object {
	const software, fingerprint = 0x8022, 0x8028
	tailnode := []byte("tailnode")
	attribute := func(number uint16, value []byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, number)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		return b
	}
	header := func(kind uint16, length int) []byte {
		b := binary.BigEndian.AppendUint16(nil, kind)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
		return append(append(b, 0x21, 0x12, 0xa4, 0x42), txID[:]...)
	}
	// sealed appends the right fingerprint, which upstream keeps to itself;
	// tailscaleBuiltHere below shows that it comes out the same.
	sealed := func(b []byte) []byte {
		sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)^0x5354554e)
		return append(b, attribute(fingerprint, sum)...)
	}
	join := func(parts ...[]byte) []byte {
		var b []byte
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	edited := func(at int, b byte) []byte {
		r := stun.Request(txID)
		r[at] = b
		return r
	}
	base := stun.Request(txID)
	values := object{}
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"tailscale", base},
		{"tailscaleBuiltHere", sealed(join(header(1, 20), attribute(software, tailnode)))},
		{"empty", nil},
		{"headerOnly", header(1, 0)},
		{"headerCut", base[:19]},
		{"plainBinding", sealed(header(1, 8))},
		{"otherSoftware", sealed(join(header(1, 20), attribute(software, []byte("tailnodf"))))},
		{"longerSoftware", sealed(join(header(1, 24), attribute(software, []byte("tailnode1"))))},
		{"noFingerprint", join(header(1, 12), attribute(software, tailnode))},
		{"wrongFingerprint", edited(39, base[39]^1)},
		{"fingerprintNotLast", join(sealed(join(header(1, 28), attribute(software, tailnode))), attribute(software, tailnode))},
		{"fingerprintTwice", sealed(sealed(join(header(1, 28), attribute(software, tailnode))))},
		{"fingerprintShort", join(header(1, 20), attribute(software, tailnode), attribute(fingerprint, []byte{1, 2}))},
		{"fingerprintLong", join(header(1, 24), attribute(software, tailnode), attribute(fingerprint, make([]byte, 8)))},
		{"otherAttributeFirst", sealed(join(header(1, 28), attribute(0x0006, []byte("user")), attribute(software, tailnode)))},
		{"paddedAttributeFirst", sealed(join(header(1, 28), attribute(0x0006, []byte("u")), attribute(software, tailnode)))},
		{"softwareTwiceFirstWrong", sealed(join(header(1, 32), attribute(software, []byte("other")), attribute(software, tailnode)))},
		{"headerLengthIgnored", sealed(join(header(1, 0xffff), attribute(software, tailnode)))},
		{"response", sealed(join(header(0x0101, 20), attribute(software, tailnode)))},
		{"indication", sealed(join(header(0x0011, 20), attribute(software, tailnode)))},
		{"topBits", edited(0, 0xc0)},
		{"wrongCookie", edited(4, 0x22)},
		{"trailingByte", append(base[:len(base):len(base)], 0)},
		{"trailingEmptyAttribute", append(base[:len(base):len(base)], 0, 6, 0, 0)},
		{"attributeBeyondEnd", join(header(1, 20), []byte{0x80, 0x22, 0x00, 0xff}, tailnode)},
		{"unpaddedEnd", join(header(1, 20), []byte{0x00, 0x06, 0x00, 0x01, 'u'})},
		{"wireguard", append([]byte{4, 0, 0, 0}, repeat(1, 60)...)},
		{"disco", discoPacket()},
	} {
		id, err := stun.ParseBindingRequest(c.b)
		out := object{{"hex", hexOf(c.b)}, {"accepted", err == nil}}
		if err == nil {
			out = append(out, member{"txId", hexOf(id[:])})
		}
		values = append(values, member{c.name, out})
	}
	return group("net/stun ParseBindingRequest, which stunserver asks for every datagram", values)
}
