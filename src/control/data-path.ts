/** Whether packets pass: two connections of the relay's own, and a packet from one to the other now and then. */
import { type Duplex, duplexPair } from 'node:stream';
import type { Barrier } from '../faults/barrier.js';
import { FrameDecoder, type FrameSink } from '../protocol/decode.js';
import { sendPacketFrame } from '../protocol/frame.js';
import { generateKeyPair, type KeyPair, type NodeKey, readNodeKey } from '../protocol/key.js';
import { sealClientInfo } from '../protocol/login.js';
import { FrameType, HEADER_LENGTH, KEY_LENGTH, PROTOCOL_VERSION } from '../protocol/wire.js';

/** Times of {@link DataPath}; tests have shorter ones. */
export interface DataPathTimes {
  /** Milliseconds between packets. */
  readonly interval: number;
  /** For how many milliseconds a packet that has passed vouches for the plane. */
  readonly patience: number;
}

export const DATA_PATH_TIMES: DataPathTimes = { interval: 15_000, patience: 60_000 };

/** The name of the handlers, for the log of faults. */
const WHAT = 'a connection that shows whether packets pass';
/** Bytes that may wait for the plane. */
const MOST_WAITING = 1024;

export interface DataPathParts {
  /** The relay's key. */
  readonly serverKey: NodeKey;
  /** Serves DERP, from the greeting on, on a stream. */
  readonly attach: (stream: Duplex) => Promise<unknown>;
  readonly barrier: Barrier;
  readonly times: DataPathTimes;
}

interface Pair {
  readonly from: End;
  readonly to: End;
}

/** A connection is opened again when the next packet is due: the plane, or the system, may have ended it. */
export class DataPath {
  private pair: Pair | undefined;
  private timer: NodeJS.Timeout | undefined;
  private sent = 0;
  private passedAt: number | undefined;

  constructor(private readonly parts: DataPathParts) {}

  start(): void {
    const { barrier, times } = this.parts;
    const turn = barrier.guard('the packet that shows whether packets pass', () => this.turn());
    this.timer = setInterval(turn, times.interval).unref();
    turn();
  }

  stop(): void {
    clearInterval(this.timer);
    this.end();
  }

  /** Whether a client with this key is one of the relay's own. The private keys are nowhere else. */
  owns(key: NodeKey): boolean {
    return this.pair !== undefined && (key === this.pair.from.key || key === this.pair.to.key);
  }

  /** Why packets may not pass; `undefined` if one has passed of late. */
  trouble(): string | undefined {
    if (this.passedAt === undefined) return 'no packet has passed through the data plane yet';
    const silence = performance.now() - this.passedAt;
    if (silence <= this.parts.times.patience) return undefined;
    return `no packet has passed through the data plane for ${Math.floor(silence / 1000)} s`;
  }

  private turn(): void {
    if (!this.pair || this.pair.from.hasEnded || this.pair.to.hasEnded) this.open();
    // The plane ends a login that takes too long.
    else this.sendIfOpen();
  }

  private open(): void {
    this.end();
    const end = (heard: (source: NodeKey, packet: Buffer) => void) =>
      new End(this.parts, { open: () => this.sendIfOpen(), heard });
    const pair: Pair = { from: end(() => {}), to: end((source, packet) => this.heard(pair, source, packet)) };
    this.pair = pair;
    for (const each of [pair.from, pair.to]) each.start();
  }

  private end(): void {
    this.pair?.from.end();
    this.pair?.to.end();
    this.pair = undefined;
  }

  /** Also as soon as both are open: the first packet does not wait for its turn. */
  private sendIfOpen(): void {
    if (!this.pair?.from.isOpen || !this.pair.to.isOpen) return;
    this.sent += 1;
    this.pair.from.send(this.pair.to.key, packetNumbered(this.sent));
  }

  private heard({ from }: Pair, source: NodeKey, packet: Buffer): void {
    if (source === from.key && packet.equals(packetNumbered(this.sent))) this.passedAt = performance.now();
  }
}

interface EndEvents {
  readonly open: () => void;
  readonly heard: (source: NodeKey, packet: Buffer) => void;
}

/** One of the two connections, as a client. */
class End implements FrameSink {
  isOpen = false;
  hasEnded = false;
  private readonly keys: KeyPair = generateKeyPair();
  private readonly stream: Duplex;
  private readonly far: Duplex;
  private readonly decoder = new FrameDecoder(this);

  constructor(
    private readonly parts: DataPathParts,
    private readonly events: EndEvents,
  ) {
    [this.stream, this.far] = duplexPair();
  }

  get key(): NodeKey {
    return this.keys.publicKey;
  }

  start(): void {
    const { barrier, attach } = this.parts;
    const end = () => this.end();
    barrier.on(
      this.stream,
      WHAT,
      { data: (chunk: Buffer) => this.decoder.push(chunk), end, close: end, error: end },
      end,
    );
    // Where the plane destroys it, the near end is not told.
    barrier.on(this.far, WHAT, { close: end }, end);
    void barrier.settle(WHAT, attach(this.far), end);
  }

  send(to: NodeKey, packet: Buffer): void {
    // A plane that reads nothing must not collect packets.
    if (this.stream.writableLength < MOST_WAITING) this.stream.write(sendPacketFrame(to, packet));
  }

  end(): void {
    this.isOpen = false;
    this.hasEnded = true;
    this.decoder.end();
    this.stream.destroy();
    this.far.destroy();
  }

  onHeader(type: number): boolean {
    return type === FrameType.ServerKey || type === FrameType.ServerInfo || type === FrameType.RecvPacket;
  }

  onFrame(type: number, frame: Buffer): void {
    if (type === FrameType.ServerKey) {
      const info = JSON.stringify({ version: PROTOCOL_VERSION });
      this.stream.write(sealClientInfo(this.keys, this.parts.serverKey, info));
    } else if (type === FrameType.ServerInfo) {
      this.isOpen = true;
      // The plane may be in the middle of the admission: it calls on this stream from within.
      setImmediate(this.parts.barrier.guard(WHAT, () => this.events.open()));
    } else {
      const packet = frame.subarray(HEADER_LENGTH + KEY_LENGTH);
      this.events.heard(readNodeKey(frame, HEADER_LENGTH), packet);
    }
  }
}

function packetNumbered(number: number): Buffer {
  return Buffer.from(`derpkit: does this pass? ${number}`);
}
