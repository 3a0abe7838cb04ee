/** `/debug/tap` of a relay: the packets of the plane's tap, to a reader that is there, slow, or gone. */
import { type IncomingMessage, request as requestPlain } from 'node:http';
import { request as requestTls } from 'node:https';
import { describe, expect, it, onTestFinished } from 'vitest';
import { formatNodeKey } from '../../src/protocol/key.js';
import { DerpClient, discoPacket } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { blocksOf } from '../helpers/pcapng.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { numbered } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

/** A reader of the tap, and everything that it has got. */
class Reader {
  private readonly chunks: Buffer[] = [];
  hasEnded = false;

  private constructor(readonly response: IncomingMessage) {}

  static async open(relay: TestRelay, query = '', accept = '*/*'): Promise<Reader> {
    const { host, port, tls } = relay.target();
    const options = { host, port, path: `/debug/tap${query}`, headers: { accept }, agent: false };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = tls ? requestTls({ ...options, rejectUnauthorized: false, ...tls }) : requestPlain(options);
      request.on('response', resolve).on('error', reject).end();
    });
    onTestFinished(() => void response.destroy());
    expect(response.statusCode).toBe(200);
    const reader = new Reader(response);
    response.on('error', () => {});
    response.on('close', () => {
      reader.hasEnded = true;
    });
    return reader;
  }

  read(): this {
    this.response.on('data', (chunk: Buffer) => this.chunks.push(chunk));
    return this;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  /** The whole lines that have come. */
  get lines(): Record<string, unknown>[] {
    const [, ...whole] = this.bytes.toString().split('\n').reverse();
    return whole.reverse().map((line) => JSON.parse(line));
  }

  get packets(): Record<string, unknown>[] {
    return this.lines.filter((line) => 'source' in line);
  }

  get missed(): number {
    return this.lines.reduce((sum, { missed }) => sum + Number(missed ?? 0), 0);
  }
}

describe.each(LANES_AND_TLS)('the page of packets, $name', (lane) => {
  it('the page shows packets as they pass, those of one client alone, and no payload', async () => {
    const relay = await startRelay(lane);
    const [a, b, c] = [
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
    ];
    const reader = (await Reader.open(relay, `?key=${formatNodeKey(b.key)}`)).read();
    await relay.commandsDone();
    a.sendPacket(c.key, 'unseen');
    a.sendPacket(b.key, 'seen');
    await a.fence();
    b.sendPacket(a.key, discoPacket(1));
    await b.fence();
    await eventually(() => reader.packets.length >= 2, 'two packets');
    const [keyOfA, keyOfB] = [formatNodeKey(a.key), formatNodeKey(b.key)];
    expect(reader.packets).toEqual([
      { time: expect.any(Number), source: keyOfA, destination: keyOfB, kind: 'other', length: 4 },
      { time: expect.any(Number), source: keyOfB, destination: keyOfA, kind: 'disco', length: discoPacket(1).length },
    ]);
  });

  it('the page is a capture file for a reader that accepts one, with as much of each packet as it asks for', async () => {
    const relay = await startRelay(lane);
    const [a, b] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const reader = (await Reader.open(relay, '?payload=4', 'application/x-pcapng')).read();
    await relay.commandsDone();
    a.sendPacket(b.key, 'a long packet');
    await a.fence();
    const blocks = await eventually(() => {
      const given = blocksOf(reader.bytes);
      return given.some(({ type }) => type === 'packet') && given;
    }, 'the packet');
    const packet = blocks.find(({ type }) => type === 'packet');
    expect(packet?.data?.subarray(48).toString()).toBe('a lo');
    expect(packet?.original).toBe(48 + 13);
    const names = blocks.flatMap(({ names: given = [] }) => given.map(([, name]) => name));
    expect(names).toEqual([a.key, b.key].map(formatNodeKey));
  });

  it('the page has one reader at a time, and the next one when that has left', async () => {
    const relay = await startRelay(lane);
    const first = (await Reader.open(relay)).read();
    const refused = await ask(relay.target(), '/debug/tap');
    expect(refused).toMatchObject({ status: 409, body: expect.stringContaining('a tap is open already') });
    first.response.destroy();
    const free = await eventually(async () => {
      try {
        relay.dataPlane.tap({ snapLength: 0 }).stop();
        return true;
      } catch {
        return false;
      }
    }, 'the tap to be free');
    expect(free).toBe(true);
    await Reader.open(relay);
  });

  it('a reader that does not read delays no packet, and learns later how many it has missed', async () => {
    const relay = await startRelay(lane);
    const [a, b] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const reader = await Reader.open(relay, '?payload=65536');
    let delivered = 0;
    b.onPacket = () => {
      delivered += 1;
    };
    let sent = 0;
    const send = async (count: number) => {
      for (let packet = 0; packet < count; packet++, sent++) {
        a.sendPacket(b.key, numbered(sent));
        await a.fence();
      }
    };
    // More than fits into sockets, streams and the memory of the tap: each packet has 87 KB as text.
    await send(600);
    await eventually(() => delivered === sent, 'packets to be delivered, whatever the reader does');
    reader.read();
    await eventually(async () => {
      await send(1);
      return reader.missed > 0;
    }, 'the reader to be told');
    await eventually(() => reader.packets.length + reader.missed === sent, 'books that balance');
  });

  it('the page ends when the relay closes', async () => {
    const relay = await startRelay(lane);
    const reader = (await Reader.open(relay)).read();
    await relay.relay.close();
    await eventually(() => reader.hasEnded, 'the end');
  });
});
