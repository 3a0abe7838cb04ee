import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { ClientStatus } from '../../../src/registry/client-status.js';
import { eventually, turn } from '../../helpers/wait.js';
import { Harness, NOTHING_TO_SHOW } from './harness.js';

const REQUEST = 'GET /debug/traffic HTTP/1.0\r\nHost: derp.test\r\n\r\n';

let main: Harness;

afterEach(() => main.close());

async function showing(clients: () => AsyncIterable<readonly ClientStatus[]>): Promise<void> {
  main = await Harness.open('main', { debug: { ...NOTHING_TO_SHOW, clients } });
}

/** The facts about a client that the page reads. */
function client(id: number, sent: number, received: number, more: Partial<ClientStatus> = {}): ClientStatus {
  const bytes = { sent: { packets: 1, bytes: sent }, received: { packets: 1, bytes: received } };
  return { id, key: `key ${id}`, active: true, senders: null, ...bytes, ...more } as ClientStatus;
}

async function untilThereIsRoom(): Promise<void> {
  const status = async () => (await main.ask('HEAD /debug/traffic HTTP/1.1')).status;
  await eventually(async () => (await status()) === 200, 'a stream to have room');
}

describe('/debug/traffic', () => {
  it('the page has a line for each active client with new traffic, look by look', async () => {
    let looks = 0;
    await showing(async function* () {
      looks += 1;
      if (looks === 1) {
        yield [client(1, 5, 10), client(2, 0, 0), client(3, 7, 7, { active: false })];
        yield [client(4, 1, 0, { senders: 3 }), client(5, 0, 1, { senders: 0 })];
      } else {
        yield [client(1, 5, 10), client(2, 1, 0), client(3, 7, 8, { active: false }), client(4, 1, 1)];
        yield [client(6, 2, 2)];
      }
    });
    const socket = await main.connect();
    socket.write(REQUEST);
    let text = '';
    while (text.split('\n\n').length < 3) text += String((await once(socket, 'data'))[0]);
    socket.destroy();
    const [, body = ''] = text.split('\r\n\r\n');
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(text).toContain("; style-src 'self' 'unsafe-inline'\r\n");
    expect(text).toContain('\r\nContent-Type: text/plain; charset=utf-8\r\n');
    const lines = [
      '{"Sent":5,"Recv":10,"Key":"key 1"}',
      '{"Sent":1,"Recv":0,"Key":"key 4","UniqueSenders":3}',
      '{"Sent":0,"Recv":1,"Key":"key 5"}',
      '',
      '{"Sent":1,"Recv":0,"Key":"key 2"}',
      '{"Sent":1,"Recv":1,"Key":"key 4"}',
      '{"Sent":2,"Recv":2,"Key":"key 6"}',
      '\n',
    ];
    expect(body).toBe(lines.join('\n'));
  });

  it('HEAD is answered without a look at the clients', async () => {
    let looks = 0;
    await showing(async function* () {
      looks += 1;
      yield [];
    });
    const { status, headers, body } = await main.ask('HEAD /debug/traffic HTTP/1.1');
    expect({ status, type: headers['content-type'], body }).toEqual({
      ...{ status: 200, type: 'text/plain; charset=utf-8', body: '' },
    });
    expect(looks).toBe(0);
  });

  it('there are four streams, and the next is refused until one of their readers leaves', async () => {
    await showing(async function* () {});
    const sockets: Socket[] = [];
    for (let count = 0; count < 4; count++) {
      const socket = await main.connect();
      sockets.push(socket);
      socket.write(REQUEST);
      await once(socket, 'data');
    }
    const { status, headers, body } = await main.ask('GET /debug/traffic HTTP/1.1');
    expect({ status, body }).toEqual({
      ...{ status: 503, body: '4 streams of traffic are open already; close one, and try again\n' },
    });
    expect(headers['content-security-policy']).toMatch(/; style-src 'self' 'unsafe-inline'$/);
    sockets[0]?.destroy();
    await untilThereIsRoom();
  });

  it('a reader that leaves ends the look at the clients', async () => {
    const state = { looks: 0, ended: 0, goesOn: 0 };
    let leave = () => {};
    const gone = new Promise<void>((resolve) => {
      leave = resolve;
    });
    await showing(async function* () {
      try {
        state.looks += 1;
        await gone;
        yield [client(1, 1, 1)];
        state.goesOn += 1;
      } finally {
        state.ended += 1;
      }
    });
    const socket = await main.connect();
    socket.write(REQUEST);
    await eventually(() => state.looks === 1, 'the look to begin');
    const left = once(main.sockets.get(1) as Socket, 'close');
    socket.destroy();
    await left;
    leave();
    await eventually(() => state.ended === 1, 'the look to end');
    expect(state).toEqual({ looks: 1, ended: 1, goesOn: 0 });
  });

  it('a reader that does not read holds up its own stream until it reads or leaves', async () => {
    const [pieces, key] = [512, 'k'.repeat(65_536)];
    let [last, looks] = [0, 0];
    await showing(async function* () {
      looks += 1;
      for (let piece = 1; piece <= pieces; piece++) {
        await turn(1);
        last = Math.max(last, piece);
        yield [client(piece, 1, 1, { key })];
      }
    });
    const sockets: Socket[] = [];
    for (let count = 0; count < 4; count++) {
      const socket = await main.connect();
      sockets.push(socket.pause());
      socket.write(REQUEST);
    }
    await eventually(() => looks === 4, 'all looks to begin');
    // Time enough for all pieces.
    await turn(2 * pieces);
    expect(last).toBeLessThan(pieces);
    const [reading, ...others] = sockets as [Socket, ...Socket[]];
    reading.resume();
    await eventually(() => last === pieces, 'the reader to get everything');
    for (const socket of [reading, ...others]) socket.destroy();
    for (let count = 0; count < 4; count++) {
      await untilThereIsRoom();
      const socket = await main.connect();
      socket.write(REQUEST);
      await once(socket, 'data');
    }
  });
});
