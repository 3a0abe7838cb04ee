/**
 * Writes packets of the relay as pcapng, which Wireshark and tshark open without a plugin. Each is the payload of a datagram
 * between two made-up IPv6 addresses, so that Wireshark finds WireGuard in it and can list conversations. The address of a
 * client is `fd` and the first 15 bytes of its node key, and a record in the file gives it the key as its name.
 *
 * The blocks are those of draft-ietf-opsawg-pcapng, little-endian.
 */
import type { TapFrame } from '../plane/plane.js';
import { formatNodeKey, type NodeKey, nodeKeyBytes } from '../protocol/key.js';

const BLOCK = { section: 0x0a0d0d0a, interface: 1, names: 4, statistics: 5, packet: 6 } as const;
const BYTE_ORDER = 0x1a2b3c4d;
/** LINKTYPE_RAW: each packet begins with its IP header. */
const RAW_IP = 101;
const UDP = 17;
const IP_HEAD = 40;
const UDP_HEAD = 8;
/** The longest payload of IPv6; the length fields of longer packets have this value. */
const LONGEST = 65_535;
/** Ports by the kind of a packet. That of `other` is Tailscale's; nothing is registered for either. */
const PORTS: Readonly<Record<TapFrame['kind'], number>> = { other: 41_641, disco: 41_642 };
const COMMENT =
  'Packets of a DERP relay. A client has the address fd… with the first 15 bytes of its node key. UDP port 41641 is WireGuard, 41642 discovery.';

/** The start of a file: its section, and the interface that all packets belong to. */
export function fileHead(): Buffer {
  const section = Buffer.alloc(16);
  section.writeUInt32LE(BYTE_ORDER, 0);
  section.writeUInt16LE(1, 4);
  // The length of the section is unknown: -1.
  section.fill(0xff, 8);
  const about = options([
    [1, COMMENT],
    [4, 'derpkit'],
  ]);
  const linked = Buffer.alloc(8);
  linked.writeUInt16LE(RAW_IP, 0);
  return Buffer.concat([
    block(BLOCK.section, section, about),
    // Of microseconds, which is what readers assume without an option.
    block(BLOCK.interface, linked, options([[2, 'derp']])),
  ]);
}

/** The name of a client, for the readers that resolve addresses. Stands in front of its first packet. */
export function nameOf(key: NodeKey): Buffer {
  const value = Buffer.concat([addressOf(key), Buffer.from(`${formatNodeKey(key)}\0`)]);
  return block(BLOCK.names, options([[2, value]]));
}

/** One packet. `missed` packets before it were not copied. */
export function packet(frame: TapFrame, missed: number): Buffer {
  const { time, bytes, length, dropped } = frame;
  const head = Buffer.alloc(20);
  writeTime(head, 4, time);
  head.writeUInt32LE(IP_HEAD + UDP_HEAD + bytes.length, 12);
  head.writeUInt32LE(IP_HEAD + UDP_HEAD + length, 16);
  const about: [number, string | Buffer][] = [];
  if (missed > 0) about.push([4, count(missed)]);
  if (dropped !== undefined) about.push([1, `dropped: ${dropped}`]);
  return block(BLOCK.packet, head, padded(Buffer.concat([datagramHead(frame), bytes])), options(about));
}

/** What has been seen and missed since the tap was opened. May stand anywhere. */
export function statistics(time: number, seen: number, missed: number): Buffer {
  const head = Buffer.alloc(12);
  writeTime(head, 4, time);
  return block(
    BLOCK.statistics,
    head,
    options([
      [4, count(seen)],
      [5, count(missed)],
    ]),
  );
}

/** A unique local address of IPv6 that shows the key. */
function addressOf(key: NodeKey): Buffer {
  return Buffer.concat([Buffer.of(0xfd), nodeKeyBytes(key).subarray(0, 15)]);
}

function datagramHead({ source, destination, kind, length, bytes }: TapFrame): Buffer {
  const head = Buffer.alloc(IP_HEAD + UDP_HEAD);
  const udpLength = Math.min(UDP_HEAD + length, LONGEST);
  head[0] = 0x60;
  head.writeUInt16BE(udpLength, 4);
  head[6] = UDP;
  head[7] = 64;
  addressOf(source).copy(head, 8);
  addressOf(destination).copy(head, 24);
  head.writeUInt16BE(PORTS[kind], IP_HEAD);
  head.writeUInt16BE(PORTS[kind], IP_HEAD + 2);
  head.writeUInt16BE(udpLength, IP_HEAD + 4);
  head.writeUInt16BE(checksum(head, bytes, udpLength, length), IP_HEAD + 6);
  return head;
}

/** That of UDP. It cannot be known of a packet that was not copied as a whole; IPv6 does not allow 0. */
function checksum(head: Buffer, bytes: Uint8Array, udpLength: number, length: number): number {
  if (bytes.length < length || UDP_HEAD + length > LONGEST) return 0xffff;
  // The addresses, the UDP header, and the length and protocol of the pseudo header.
  let sum = udpLength + UDP;
  for (let at = 8; at < head.length; at += 2) sum += head.readUInt16BE(at);
  bytes.forEach((byte, at) => {
    sum += at % 2 === 0 ? byte << 8 : byte;
  });
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff || 0xffff;
}

function writeTime(into: Buffer, at: number, milliseconds: number): void {
  const microseconds = Math.round(milliseconds * 1000);
  into.writeUInt32LE(Math.floor(microseconds / 2 ** 32), at);
  into.writeUInt32LE(microseconds % 2 ** 32, at + 4);
}

function count(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** Options and records have one form: code, length, value, and an end if there are any. */
function options(each: readonly (readonly [code: number, value: string | Buffer])[]): Buffer {
  if (each.length === 0) return Buffer.alloc(0);
  const parts = each.flatMap(([code, given]) => {
    const value = Buffer.from(given as Buffer);
    const head = Buffer.alloc(4);
    head.writeUInt16LE(code, 0);
    head.writeUInt16LE(value.length, 2);
    return [head, padded(value)];
  });
  return Buffer.concat([...parts, Buffer.alloc(4)]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}

function block(type: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const made = Buffer.alloc(12 + body.length);
  made.writeUInt32LE(type, 0);
  made.writeUInt32LE(made.length, 4);
  body.copy(made, 8);
  made.writeUInt32LE(made.length, made.length - 4);
  return made;
}
