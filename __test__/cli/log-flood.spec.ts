/** What a relay logs while strangers flood every port with garbage. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { readNodeKey } from '../../src/protocol/key.js';
import { DerpClient, upgradeRequest } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { strangeFields } from '../helpers/log-fields.js';
import { seeded } from '../helpers/random.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import { start, temporary } from './commands.js';

const PLANES = [...new Set(LANES.map(({ planeKind }) => planeKind))];
/** Connections to each port, and datagrams. */
const CONNECTIONS = 1000;
const DATAGRAMS = 3000;
const LOGINS = 300;
const AT_ONCE = 25;

const random = seeded(20);
const bytes = (length: number) => Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));

/** What scanners send, and worse. */
const GARBAGE: readonly (() => Buffer)[] = [
  () => bytes(1 + Math.floor(random() * 600)),
  () => Buffer.concat([Buffer.of(0x16, 3, 1, 0, 200), bytes(200)]),
  () => Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  () => Buffer.from(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`),
  () => Buffer.concat([Buffer.from(upgradeRequest({ 'Derp-Fast-Start': '1' })), bytes(300)]),
  () => Buffer.from('GET /debug/clients/?ip=nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'),
  () => Buffer.alloc(0),
];

async function garbage(port: number, what: Buffer): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => {});
  socket.resume();
  const closed = once(socket, 'close');
  socket.end(what);
  await closed;
}

async function flood(port: number): Promise<void> {
  for (let sent = 0; sent < CONNECTIONS; sent += AT_ONCE) {
    const wave = Array.from(
      { length: AT_ONCE },
      (_, index) => GARBAGE[(sent + index) % GARBAGE.length]?.() ?? bytes(1),
    );
    await Promise.all(wave.map((what) => garbage(port, what)));
  }
}

async function floodStun(port: number): Promise<void> {
  const socket = createSocket('udp4');
  for (let sent = 0; sent < DATAGRAMS; sent++) {
    await new Promise<void>((resolve) => socket.send(bytes(60), port, '127.0.0.1', () => resolve()));
  }
  socket.close();
}

/** Clients that any relay lets in, and that leave at once. */
async function comeAndGo(port: number, serverKey: string): Promise<void> {
  const key = readNodeKey(Buffer.from(serverKey.replace('nodekey:', ''), 'hex'));
  for (let logins = 0; logins < LOGINS; logins += AT_ONCE) {
    const wave = Array.from({ length: AT_ONCE }, async () => {
      const client = new DerpClient(await Wire.open({ host: '127.0.0.1', port, tls: {} }), key, {
        meshKey: '77'.repeat(32),
      });
      await client.login();
      await client.close();
    });
    await Promise.all(wave);
  }
}

type Line = Readonly<Record<string, unknown>> & { readonly msg: string };

describe.each(PLANES)('the log of a relay under a flood of garbage, on the %s plane', (plane) => {
  it.each(['info', 'debug'])(
    'has a bounded number of lines at level %s, all of them with known fields',
    async (level) => {
      const env = {
        DERPKIT_LOG_FORMAT: 'json',
        DERPKIT_LOG_LEVEL: level,
        DERPKIT_PLANE: plane,
        DERPKIT_METRICS_LISTEN: '127.0.0.1:0',
      };
      const args = ['--listen=127.0.0.1:0', '--http-port=0', '--stun-port=0', '--data-dir', temporary()];
      const relay = start('derpkit', ['serve', ...args], { env });
      const lines = () =>
        relay.stderr.split('\n').flatMap((text) => (text.startsWith('{') ? [JSON.parse(text) as Line] : []));
      const portOf = async (service: string) => {
        const found = () => lines().find(({ msg }) => msg.startsWith(`serving ${service}`));
        return Number(/\d+$/.exec(String((await eventually(found, `the port of ${service}`)).addr))?.[0]);
      };
      const [tls, plain, stun] = [await portOf('DERP over TLS'), await portOf('HTTP'), await portOf('STUN')];
      const metrics = await portOf('metrics');
      const key = String(lines().find(({ key }) => key !== undefined)?.key);
      const before = lines().length;
      const began = performance.now();
      await Promise.all([flood(tls), flood(plain), flood(metrics), floodStun(stun)]);
      await comeAndGo(tls, key);
      const { code } = await relay.stop();
      const seconds = (performance.now() - began) / 1000;
      expect(code).toBe(0);
      const said = lines().slice(before);
      // At level info: one line a minute about strangers, one for each kind of fault, and the end. At level debug: of failures
      // 50 lines and 50 a second, of clients that come and go 500 and 100 a second, and a few more.
      const most = level === 'info' ? 10 + seconds / 6 : 600 + 150 * seconds;
      expect(said.length).toBeLessThan(most);
      if (level === 'debug') {
        // 2,000 connections and 300 logins with a wrong mesh key have come to something; what has no line is counted in one.
        const failures = said.filter(({ msg }) => /has failed|brought no request|shows a mesh key/.test(msg));
        expect(failures.length).toBeGreaterThan(50);
        expect(failures.length).toBeLessThan(60 + 51 * seconds);
        expect(failures.some(({ heldBack }) => Number(heldBack) > 0)).toBe(true);
        for (const { addr, reason } of failures) {
          expect(addr).toMatch(/^127\.0\.0\.1:\d+$/);
          expect(reason).toMatch(/^[a-z_]+$/);
        }
      }
      const strange = lines().flatMap(({ level: _level, time: _time, msg: _msg, ...facts }) => strangeFields(facts));
      expect([...new Set(strange)]).toEqual([]);
    },
  );
});
