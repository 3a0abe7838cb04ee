/** The relay's packets to itself, through a relay that does what a test says. */
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DATA_PATH_TIMES, DataPath, type DataPathParts } from '../../../src/control/data-path.js';
import { Barrier } from '../../../src/faults/barrier.js';
import { FrameDecoder, type FrameSink } from '../../../src/protocol/decode.js';
import { encodeFrame, recvPacketFrame, serverKeyFrame } from '../../../src/protocol/frame.js';
import { generateKeyPair, type NodeKey, nodeKeyBytes, readNodeKey } from '../../../src/protocol/key.js';
import { type OpenedLogin, openClientInfo, sealServerInfo } from '../../../src/protocol/login.js';
import { FrameType, HEADER_LENGTH, KEY_LENGTH, PROTOCOL_VERSION } from '../../../src/protocol/wire.js';
import { turn } from '../../helpers/wait.js';
import { keyOf, settled } from '../plane/context.js';

const TIMES = { interval: 1_000, patience: 5_000 };
const KEYS = generateKeyPair();

/** The relay's side of a connection: it greets, and reads what comes. */
class Side implements FrameSink {
  login: OpenedLogin | undefined;
  /** What the client has sent: to which key, and which text. */
  readonly sent: [to: NodeKey, text: string][] = [];
  private readonly decoder = new FrameDecoder(this);

  constructor(readonly stream: Duplex) {
    stream.on('data', (chunk: Buffer) => this.decoder.push(chunk));
    stream.write(serverKeyFrame(KEYS.publicKey));
  }

  get key(): NodeKey {
    return (this.login as OpenedLogin).key;
  }

  onHeader(): boolean {
    return true;
  }

  onFrame(type: number, frame: Buffer): void {
    if (type === FrameType.ClientInfo) this.login = openClientInfo(frame.subarray(HEADER_LENGTH), KEYS.privateKey);
    if (type !== FrameType.SendPacket) return;
    this.sent.push([readNodeKey(frame, HEADER_LENGTH), frame.toString('utf8', HEADER_LENGTH + KEY_LENGTH)]);
  }

  admit(): void {
    this.stream.write(sealServerInfo((this.login as OpenedLogin).sharedKey));
  }

  deliver(source: NodeKey, text: string): void {
    this.stream.write(recvPacketFrame(source, Buffer.from(text)));
  }
}

let sides: Side[];
let faults: [what: string, message: string][];
let path: DataPath;

/** The connections that were opened last: the one that sends, and the one that receives. */
const last = () => sides.slice(-2) as [Side, Side];

function dataPath(changes: Partial<DataPathParts> = {}): DataPath {
  return new DataPath({
    serverKey: KEYS.publicKey,
    attach: async (stream) => void sides.push(new Side(stream)),
    barrier: new Barrier((what, error) => void faults.push([what, (error as Error).message])),
    times: TIMES,
    ...changes,
  });
}

async function admit(...those: readonly Side[]): Promise<void> {
  for (const side of those) {
    side.admit();
    await turn(4);
  }
}

async function pass(milliseconds: number): Promise<void> {
  vi.advanceTimersByTime(milliseconds);
  await turn(4);
}

/** Delivers the packet that was sent last. */
async function forward(): Promise<void> {
  const [from, to] = last();
  to.deliver(from.key, from.sent.at(-1)?.[1] as string);
  await turn(4);
}

/** Opens both connections. */
async function open(): Promise<[Side, Side]> {
  path.start();
  await turn(4);
  await admit(...last());
  return last();
}

const text = (number: number) => `derpkit: does this pass? ${number}`;
const NEVER = 'no packet has passed through the data plane yet';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  [sides, faults, path] = [[], [], dataPath()];
});

afterEach(() => {
  path.stop();
  vi.useRealTimers();
});

describe('the packets that show whether packets pass', () => {
  afterEach(() => expect(faults).toEqual([]));

  it('a packet leaves as soon as both connections are open, and vouches for the plane once it has arrived', async () => {
    const [from, to] = await open();
    expect(sides).toHaveLength(2);
    expect([from.sent, to.sent]).toEqual([[[to.key, text(1)]], []]);
    expect(from.login?.info).toMatchObject({ version: PROTOCOL_VERSION, meshKey: undefined });
    expect(path.trouble()).toBe(NEVER);
    await forward();
    expect(path.trouble()).toBeUndefined();
  });

  it('another packet leaves in each interval, over the same connections', async () => {
    const [from] = await open();
    await pass(TIMES.interval - 1);
    expect(from.sent).toHaveLength(1);
    await pass(1);
    await pass(2 * TIMES.interval);
    expect(from.sent.map(([, sent]) => sent)).toEqual([1, 2, 3, 4].map(text));
    expect(sides).toHaveLength(2);
  });

  it.each([0, 1])('no packet leaves while only one connection is open: %i', async (index) => {
    path.start();
    await turn(4);
    await admit(sides[index] as Side);
    await pass(TIMES.interval);
    expect(sides.map(({ sent }) => sent)).toEqual([[], []]);
  });

  it('a packet vouches for the plane until patience ends', async () => {
    await open();
    await pass(300);
    await forward();
    await pass(TIMES.patience);
    expect(path.trouble()).toBeUndefined();
    await pass(1);
    expect(path.trouble()).toBe('no packet has passed through the data plane for 5 s');
    await pass(2_500);
    expect(path.trouble()).toBe('no packet has passed through the data plane for 7 s');
    await forward();
    expect(path.trouble()).toBeUndefined();
  });

  it.each<[string, (from: Side, to: Side) => void]>([
    ['of another sender', (_from, to) => to.deliver(keyOf(7), text(2))],
    ['with another text', (from, to) => to.deliver(from.key, 'derpkit')],
    ['that was sent earlier', (from, to) => to.deliver(from.key, text(1))],
    ['back to its sender', (from) => from.deliver(from.key, text(2))],
    [
      'in a frame of another type',
      (from, to) => {
        const body = Buffer.concat([nodeKeyBytes(from.key), Buffer.from(text(2))]);
        to.stream.write(encodeFrame(FrameType.SendPacket, body));
      },
    ],
  ])('a packet %s does not vouch for the plane', async (_what, arrives) => {
    const [from, to] = await open();
    await pass(TIMES.interval);
    expect(from.sent.at(-1)).toEqual([to.key, text(2)]);
    arrives(from, to);
    await turn(4);
    expect(path.trouble()).toBe(NEVER);
    await forward();
    expect(path.trouble()).toBeUndefined();
  });

  it('a plane that reads nothing collects few packets', async () => {
    const [from] = await open();
    from.stream.pause();
    vi.advanceTimersByTime(1_000 * TIMES.interval);
    from.stream.resume();
    await turn(100);
    expect(from.sent.length).toBeGreaterThan(5);
    expect(from.sent.length).toBeLessThan(50);
  });

  it('by default, several packets may get lost before the relay says that none passes', () => {
    expect(DATA_PATH_TIMES.patience).toBeGreaterThan(3 * DATA_PATH_TIMES.interval);
  });
});

describe('the connections that show whether packets pass', () => {
  afterEach(() => expect(faults).toEqual([]));

  it.each<[string, number, (stream: Duplex) => void]>([
    ['that sends is destroyed', 0, (stream) => stream.destroy()],
    ['that receives is destroyed', 1, (stream) => stream.destroy()],
    ['that sends is ended', 0, (stream) => stream.end()],
    ['that receives is ended', 1, (stream) => stream.end()],
  ])('when the connection %s, both are opened again in the next interval', async (_what, index, end) => {
    await open();
    await forward();
    end((sides[index] as Side).stream);
    await turn(4);
    expect(sides).toHaveLength(2);
    await pass(TIMES.interval);
    expect(sides).toHaveLength(4);
    expect(sides.map(({ stream }) => stream.destroyed)).toEqual([true, true, false, false]);
    await admit(...last());
    await pass(TIMES.patience - 1);
    await forward();
    await pass(TIMES.patience);
    expect(path.trouble()).toBeUndefined();
  });

  it('nothing is sent over a connection that has ended', async () => {
    path.start();
    await turn(4);
    const [from, to] = last();
    from.stream.destroy();
    await turn(4);
    await admit(to);
    await pass(TIMES.interval);
    await admit(...last());
    expect(last()[0].sent.map(([, sent]) => sent)).toEqual([text(1)]);
  });

  it('the relay knows the keys of its own connections while they are there', async () => {
    expect(path.owns(keyOf(1))).toBe(false);
    const keys = (await open()).map(({ key }) => key);
    expect(new Set(keys).size).toBe(2);
    expect([...keys, keyOf(1)].map((key) => path.owns(key))).toEqual([true, true, false]);
    path.stop();
    expect(keys.map((key) => path.owns(key))).toEqual([false, false]);
  });

  it('after a stop, both connections are closed, and none is opened', async () => {
    await open();
    path.stop();
    await pass(3 * TIMES.interval);
    expect(sides.map(({ stream }) => stream.destroyed)).toEqual([true, true]);
  });

  it('a stop may come before the start, and while a connection is about to be open', async () => {
    path.stop();
    path.start();
    await turn(4);
    for (const side of sides) side.admit();
    // Both have read that they are admitted, and have not acted on it.
    await settled();
    path.stop();
    await turn(4);
    expect(sides.map(({ sent }) => sent)).toEqual([[], []]);
  });
});

describe('faults of the connections that show whether packets pass', () => {
  const WHAT = 'a connection that shows whether packets pass';

  it('a connection that the plane does not take is reported, and opened again', async () => {
    let isTaken = false;
    path = dataPath({
      attach: async (stream) => {
        if (!isTaken) throw new Error('not taken');
        sides.push(new Side(stream));
      },
    });
    path.start();
    await turn(4);
    expect(faults).toEqual(Array(2).fill([WHAT, 'not taken']));
    isTaken = true;
    await pass(TIMES.interval);
    await admit(...last());
    expect(last()[0].sent).toHaveLength(1);
  });

  it('a greeting that cannot be answered is reported, and ends the connection', async () => {
    path = dataPath({ serverKey: readNodeKey(Buffer.alloc(KEY_LENGTH)) });
    path.start();
    await turn(4);
    expect(faults).toEqual(Array(2).fill([`${WHAT}: data`, 'the key is of low order']));
    expect(sides.map(({ stream }) => stream.destroyed)).toEqual([true, true]);
  });

  it('a fault of a turn is reported', () => {
    path = dataPath({
      attach: () => {
        throw new Error('no plane');
      },
    });
    path.start();
    expect(faults).toEqual([['the packet that shows whether packets pass', 'no plane']]);
  });
});
