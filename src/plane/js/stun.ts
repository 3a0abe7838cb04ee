import type { RemoteInfo, Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { crc32 } from 'node:zlib';
import { addressBytes } from '../../protocol/frame.js';
import { unmapped } from '../address.js';
import type { Listening, ListenSpec } from '../plane.js';
import type { PlaneContext } from './context.js';
import { StunSockets } from './stun-sockets.js';

const HEADER = 20;
const COOKIE = Buffer.from('2112a442', 'hex');
const BINDING_REQUEST = 0x0001;
const BINDING_RESPONSE = 0x0101;
const XOR_MAPPED_ADDRESS = 0x0020;
const SOFTWARE = 0x8022;
const FINGERPRINT = 0x8028;
const FINGERPRINT_XOR = 0x5354554e;
const TAILNODE = Buffer.from('tailnode');

/** Answers Tailscale's STUN binding requests and ignores all other datagrams. */
export class StunListener {
  private readonly sockets: StunSockets;

  constructor(
    spec: ListenSpec,
    readonly id: number,
    private readonly context: Pick<PlaneContext, 'barrier' | 'counters'>,
  ) {
    const { barrier, counters } = context;
    this.sockets = new StunSockets(spec, {
      onMessage: barrier.guard('STUN: message', (socket, message, from) => this.onMessage(socket, message, from)),
      onError: () => counters.add('stun_requests:read_error'),
    });
  }

  async listen(): Promise<Listening> {
    const { address, port } = await this.sockets.open();
    return { id: this.id, address, port };
  }

  close(): Promise<void> {
    return this.sockets.close();
  }

  private onMessage(socket: Socket, message: Buffer, from: RemoteInfo): void {
    const { counters } = this.context;
    if (!isBindingRequest(message)) {
      counters.add('stun_requests:not_stun');
      return;
    }
    const address = unmapped(from.address);
    counters.add(address.includes(':') ? 'stun_addrfamily:ipv6' : 'stun_addrfamily:ipv4');
    // Node throws if it is asked to send to port 0.
    if (from.port === 0) {
      counters.add('stun_requests:write_error');
      return;
    }
    socket.send(bindingResponse(message, address, from.port), from.port, from.address, (error) => {
      counters.add(error ? 'stun_requests:write_error' : 'stun_requests:success');
    });
  }
}

/**
 * Whether this is a Tailscale client's request: it names its software, and its last attribute is a correct fingerprint.
 */
export function isBindingRequest(message: Buffer): boolean {
  if (message.length < HEADER || message.readUInt16BE(0) !== BINDING_REQUEST) return false;
  if (!message.subarray(4, 8).equals(COOKIE)) return false;
  let tailnode = false;
  // The length of the datagram counts; the header's own length is ignored.
  for (let at = HEADER; at < message.length; ) {
    if (at + 4 > message.length) return false;
    const type = message.readUInt16BE(at);
    const length = message.readUInt16BE(at + 2);
    const next = at + 4 + length + (-length & 3);
    if (next > message.length) return false;
    const value = message.subarray(at + 4, at + 4 + length);
    if (type === SOFTWARE && value.equals(TAILNODE)) tailnode = true;
    if (next === message.length) {
      return tailnode && type === FINGERPRINT && length === 4 && value.readUInt32BE() === fingerprint(message, at);
    }
    at = next;
  }
  return false;
}

/** The response with the address that the request came from: 32 bytes for IPv4, 44 for IPv6. */
export function bindingResponse(request: Buffer, address: string, port: number): Buffer {
  const mapped = addressBytes(address) ?? Buffer.alloc(16);
  const v6 = isIPv6(address);
  const ip = v6 ? mapped : mapped.subarray(12);
  const response = Buffer.alloc(HEADER + 8 + ip.length);
  response.writeUInt16BE(BINDING_RESPONSE, 0);
  response.writeUInt16BE(8 + ip.length, 2);
  request.copy(response, 4, 4, HEADER);
  response.writeUInt16BE(XOR_MAPPED_ADDRESS, HEADER);
  response.writeUInt16BE(4 + ip.length, HEADER + 2);
  response[HEADER + 5] = v6 ? 2 : 1;
  response.writeUInt16BE(port ^ COOKIE.readUInt16BE(0), HEADER + 6);
  // The mask is the cookie and the transaction id: the request's bytes from offset 4 on.
  ip.forEach((byte, index) => {
    response[HEADER + 8 + index] = byte ^ (request[4 + index] as number);
  });
  return response;
}

function fingerprint(message: Buffer, end: number): number {
  return (crc32(message.subarray(0, end)) ^ FINGERPRINT_XOR) >>> 0;
}
