/**
 * DERP over a WebSocket, as small as it can be: log in, send packets, get packets. A frame is a type, a length of four
 * bytes, and so much. The messages of the WebSocket together are one stream of frames, cut anywhere.
 */
const FRAME = {
  serverKey: 1,
  clientInfo: 2,
  serverInfo: 3,
  sendPacket: 4,
  recvPacket: 5,
  peerGone: 8,
  ping: 0x12,
  pong: 0x13,
};
const MAGIC = '44455250f09f9491';
const KEY = 32;
const { nacl } = globalThis;

export class DerpClient {
  #socket;
  #handlers;
  #keys = nacl.box.keyPair();
  #serverKey;
  #partial = new Uint8Array(0);

  /** `handlers`: `onReady()`, `onPacket(source, packet)`, `onGone(peer)`, `onClose(reason)`. */
  constructor(url, handlers) {
    this.#handlers = handlers;
    this.#socket = new WebSocket(url, 'derp');
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onmessage = ({ data }) => this.#onBytes(new Uint8Array(data));
    this.#socket.onclose = ({ reason }) => handlers.onClose?.(reason);
  }

  get publicKey() {
    return this.#keys.publicKey;
  }

  /** At most 64 KiB, to whoever has this key; lost without a word if nobody does. */
  send(peer, packet) {
    this.#write(FRAME.sendPacket, peer, packet);
  }

  #onBytes(bytes) {
    const all = joined(this.#partial, bytes);
    let at = 0;
    while (all.length - at >= 5) {
      const end = at + 5 + new DataView(all.buffer, at + 1).getUint32(0);
      if (end > all.length) break;
      this.#onFrame(all[at], all.subarray(at + 5, end));
      at = end;
    }
    this.#partial = all.slice(at);
  }

  #onFrame(type, body) {
    if (type === FRAME.serverKey) this.#login(body);
    else if (type === FRAME.serverInfo) this.#onServerInfo(body);
    else if (type === FRAME.recvPacket) this.#handlers.onPacket?.(body.slice(0, KEY), body.slice(KEY));
    else if (type === FRAME.peerGone) this.#handlers.onGone?.(body.slice(0, KEY));
    else if (type === FRAME.ping) this.#write(FRAME.pong, body);
  }

  /** Proves to have the key: the box opens only if it was sealed with it. */
  #login(body) {
    if (toHex(body.subarray(0, 8)) !== MAGIC) throw new Error('this is no DERP relay');
    this.#serverKey = body.slice(8, 8 + KEY);
    const info = new TextEncoder().encode(JSON.stringify({ version: 2, CanAckPings: true }));
    const nonce = nacl.randomBytes(nacl.box.nonceLength);
    const box = nacl.box(info, nonce, this.#serverKey, this.#keys.secretKey);
    this.#write(FRAME.clientInfo, this.publicKey, nonce, box);
  }

  /** Opens only if the relay has the key that it greeted with. */
  #onServerInfo(body) {
    const [nonce, box] = [body.slice(0, nacl.box.nonceLength), body.slice(nacl.box.nonceLength)];
    if (!nacl.box.open(box, nonce, this.#serverKey, this.#keys.secretKey)) this.#socket.close();
    else this.#handlers.onReady?.();
  }

  #write(type, ...parts) {
    const body = joined(...parts);
    const header = new Uint8Array(5);
    header[0] = type;
    new DataView(header.buffer).setUint32(1, body.length);
    this.#socket.send(joined(header, body));
  }
}

export function toHex(bytes) {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function fromHex(text) {
  return Uint8Array.from(text.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
}

function joined(...parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
