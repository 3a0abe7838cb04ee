/** What a plane does with connections that come back from an HTTP server: a test is the server here. */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { sendPacketFrame } from '../../src/protocol/frame.js';
import { DerpClient } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { NO_RIGHTS, PlaneHarness } from '../helpers/plane-harness.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

const REQUEST = 'GET / HTTP/1.1\r\nHost: relay\r\n\r\n';

const OVER = LANES.flatMap((lane) =>
  (['tcp', 'tls'] as const).map((kind) => ({ name: `${lane.name}, ${kind}`, lane, kind })),
);

describe.each(OVER)('adopting a connection from the HTTP server, $name', ({ lane, kind }) => {
  /** A connection that is an HTTP server's, and has said this. */
  async function handed(harness: PlaneHarness, ...said: (string | Uint8Array)[]) {
    const wire = await harness.wire();
    wire.write(...said);
    const [id, stream] = await eventually(() => [...harness.duplexes].at(-1), 'the connection to be handed over');
    return { wire, id, stream };
  }

  it('an adopted connection sends DERP behind every pending answer, however slowly those leave', async () => {
    const harness = await PlaneHarness.open(lane, {}, kind);
    const { wire, id, stream } = await handed(harness, REQUEST);
    expect(stream.read(REQUEST.length).toString()).toBe(REQUEST);
    wire.stopReading();
    const answer = Buffer.alloc(6 << 20, 'answer ');
    stream.write(answer);
    harness.plane.adopt(id, { framing: 'raw', leftover: Buffer.alloc(0), notIdeal: false });
    wire.goOnReading();
    expect((await wire.take(answer.length)).equals(answer)).toBe(true);
    const client = new DerpClient(wire, harness.keys.publicKey, { start: 'none' });
    const done = client.login();
    harness.plane.admit((await eventually(() => harness.logins[0], 'a login')).id, NO_RIGHTS);
    await done;
    await client.close();
    expect(await harness.endOf(id)).toBe('disconnected');
  });

  it('an adopted connection keeps every byte that arrived meanwhile', async () => {
    const harness = await PlaneHarness.open(lane, {}, kind);
    const { client: reader } = await harness.admitted();
    const info = new DerpClient(reader.wire, harness.keys.publicKey);
    const login = info.clientInfo;
    const { wire, id, stream } = await handed(harness, REQUEST, login.subarray(0, 50));
    stream.resume();
    const read: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => read.push(chunk));
    await eventually(() => Buffer.concat(read).length === REQUEST.length + 50, 'the server to have read');
    stream.removeAllListeners('data');
    stream.pause();
    // What the server has read, what waits for it, and what is still to come.
    wire.write(login.subarray(50), sendPacketFrame(reader.key, Buffer.from('one')));
    await wire.flushed();
    const leftover = Buffer.concat(read).subarray(REQUEST.length);
    harness.plane.adopt(id, { framing: 'raw', leftover, notIdeal: false });
    wire.write(sendPacketFrame(reader.key, Buffer.from('two')));
    harness.plane.admit((await eventually(() => harness.logins[1], 'a login')).id, NO_RIGHTS);
    expect(await reader.expectPacket('one')).toBe(info.key);
    expect(await reader.expectPacket('two')).toBe(info.key);
    await wire.destroy();
    await harness.endOf(id);
  });

  it('an adopted connection that has already ended closes at once, and raises no login', async () => {
    // No deadline ends it before the test does.
    const harness = await PlaneHarness.open(lane, { deadlines: { clientInfo: 600_000, head: 600_000 } }, kind);
    const { wire, id, stream } = await handed(harness, REQUEST);
    stream.resume();
    wire.end();
    await once(stream, 'end');
    harness.plane.adopt(id, { framing: 'raw', leftover: Buffer.alloc(0), notIdeal: false });
    await eventually(() => harness.plane.counters.read('logins_failed') === 1, 'the connection to end');
    expect(harness.logins).toEqual([]);
    expect(harness.ends.get(id)).toBeUndefined();
  });
});
