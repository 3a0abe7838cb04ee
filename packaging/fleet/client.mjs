/** A small DERP client, made of the relay's own frames: it stays connected, and counts what it sends and gets. */
import { connect } from 'node:tls';
import { root } from '../ensure.mjs';

const { FrameDecoder } = await import(`${root}/dist/protocol/decode.js`);
const { sendPacketFrame, pongFrame } = await import(`${root}/dist/protocol/frame.js`);
const { generateKeyPair, readNodeKey, nodeKeyHex } = await import(`${root}/dist/protocol/key.js`);
const { sealClientInfo } = await import(`${root}/dist/protocol/login.js`);
const { endOfSwitching, upgradeRequest } = await import(`${root}/dist/protocol/upgrade.js`);
const { FrameType, HEADER_LENGTH, MAGIC } = await import(`${root}/dist/protocol/wire.js`);

/** Milliseconds before the next attempt. */
const RETRY = 100;

export class Client {
  keys = generateKeyPair();
  /** The key of the relay that it is connected to, as hex; undefined while it is not. */
  relay;
  connects = 0;
  /** Gets the key of the sender and the packet. */
  onPacket = () => {};
  #target;
  #socket;
  #closed = false;

  /** `target`: `host`, `port`, `servername`, `ca`. */
  constructor(target) {
    this.#target = target;
    this.#dial();
  }

  get key() {
    return this.keys.publicKey;
  }

  /** Sends a packet, if it is connected. Returns whether it is. */
  send(to, packet) {
    if (this.relay === undefined) return false;
    this.#socket.write(sendPacketFrame(to, packet));
    return true;
  }

  close() {
    this.#closed = true;
    this.#socket.destroy();
  }

  #dial() {
    const socket = connect(this.#target);
    this.#socket = socket;
    let head = Buffer.alloc(0);
    let decoder;
    let serverKey;
    const onFrame = (type, frame) => {
      const body = frame.subarray(HEADER_LENGTH);
      if (type === FrameType.ServerKey) {
        serverKey = readNodeKey(body, MAGIC.length);
        socket.write(sealClientInfo(this.keys, serverKey, '{"version":2}'));
      } else if (type === FrameType.ServerInfo) {
        this.relay = nodeKeyHex(serverKey);
        this.connects += 1;
      } else if (type === FrameType.RecvPacket) {
        this.onPacket(readNodeKey(body), body.subarray(32));
      } else if (type === FrameType.Ping) {
        socket.write(pongFrame(body));
      }
    };
    socket.on('secureConnect', () => socket.write(upgradeRequest(this.#target.servername)));
    socket.on('data', (chunk) => {
      try {
        if (!decoder) {
          head = Buffer.concat([head, chunk]);
          const start = endOfSwitching(head, 16_384);
          if (start === undefined) return;
          decoder = new FrameDecoder({ onHeader: () => true, onFrame });
          chunk = head.subarray(start);
        }
        decoder.push(chunk);
      } catch (error) {
        socket.destroy(error);
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.relay = undefined;
      if (!this.#closed) setTimeout(() => this.#dial(), RETRY);
    });
  }
}
