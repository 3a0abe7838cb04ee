/** Connections that fail before their admission are counted, and logged at level debug, alike on every plane. */
import { describe, expect, it } from 'vitest';
import { parsePair, servedSet } from '../../src/control/certificates.js';
import { FAILURE_COUNTERS } from '../../src/plane/failures.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { generateKeyPair } from '../../src/protocol/key.js';
import { FrameType } from '../../src/protocol/wire.js';
import { DerpClient } from '../helpers/client.js';
import { type Case, EVICTED, HANDSHAKES, LIMITS, LOGINS, NAME, REQUESTS, sends } from '../helpers/failing-clients.js';
import { LANES, type Lane } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { Log } from '../helpers/log.js';
import { PlaneHarness } from '../helpers/plane-harness.js';
import { MESH_KEY, pemPair, startRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

async function comesTo(lane: Lane, { visit, expected, policy, otherwise }: Case, tls: boolean): Promise<void> {
  const pair = pemPair([NAME]);
  const keys = generateKeyPair();
  const served = { certificate: parsePair(pair, []), names: [NAME] };
  const set = tls ? servedSet([served], otherwise ?? 'refuse', keys.publicKey, new Date()) : undefined;
  const harness = await PlaneHarness.open(lane, { tellFailures: true, ...policy }, tls ? 'tls' : 'tcp', set);
  const wire = await visit(harness);
  const told = await eventually(() => harness.failed[0], 'a failure to be told of');
  const { what, serverName = '', alert = '' } = expected;
  expect(told).toMatchObject({ what, serverName, alert, peer: { address: '127.0.0.1' } });
  expect(told.peer.port).toBeGreaterThan(0);
  await wire?.ended();
  // Once, and nothing else.
  const counted = FAILURE_COUNTERS.filter((name) => harness.plane.counters.read(name) > 0);
  expect(counted).toEqual(what.includes('_failed:') ? [what] : []);
  expect(harness.plane.counters.read(what)).toBe(1);
  expect(harness.failed).toHaveLength(1);
}

describe.each(LANES)('connections that fail, $name', (lane) => {
  it.each([...HANDSHAKES, EVICTED])('a handshake $name is counted and reported', (one) => comesTo(lane, one, true));
  it.each(REQUESTS)('a request $name is counted and reported', (one) => comesTo(lane, one, false));
  it.each(LOGINS)('a login $name is counted and reported', (one) => comesTo(lane, one, false));
  it.each(LIMITS)('a connection $name is counted and reported', (one) => comesTo(lane, one, false));

  it('the plane counts failures, and reports none if reports are off', async () => {
    const harness = await PlaneHarness.open(lane);
    const wire = await sends('GET / HTTP/1.1\r\nHost')(harness);
    wire?.end();
    await wire?.ended();
    await eventually(() => harness.plane.counters.read('requests_failed:hung_up') === 1, 'it to be counted');
    await harness.plane.snapshot(0, 0);
    expect(harness.failed).toEqual([]);
  });

  it('the log has a number of failures instead of lines in a flood', async () => {
    const log = new Log();
    const relay = await startRelay(lane, { tls: false, logger: log.logger });
    const wires = await Promise.all([...Array(300)].map(() => Wire.open(relay.target())));
    for (const wire of wires) wire.reset();
    await relay.untilCount('requests_failed:hung_up', 300);
    const lines = () => log.lines.filter((line) => line.includes('has brought no request'));
    const heldBack = () => {
      return lines().reduce((sum, line) => sum + Number(/"heldBack":(\d+)/.exec(line)?.[1] ?? 0), 0);
    };
    // The next line has the number of the rest.
    await eventually(async () => {
      (await Wire.open(relay.target())).reset();
      return lines().length + heldBack() >= 300;
    }, 'a number of those that have no line');
    expect(lines().length).toBeLessThan(300);
  });

  it('the log names the setting and the address if one address is refused', async () => {
    const log = new Log();
    const policy = { limits: { perAddress: 4, exempt: [] } };
    const relay = await startRelay(lane, { tls: false, logger: log.logger, policy });
    const logins = [...Array(12)].map(() => Wire.open(relay.target()).catch(() => undefined));
    const wires = await Promise.all(logins);
    await relay.untilCount('strangers_refused:address', 8);
    const line = await eventually(() => log.find(/^warn: .*limits\.perAddress/), 'a line about it');
    expect(line).toMatch(/\{"addr":"127\.0\.0\.1","perAddress":4,/);
    expect(line).toMatch(/limits\.exempt/);
    for (const wire of wires) await wire?.destroy();
  });

  it('the log has one line at level debug for each failure, with address, name and reason', async () => {
    const log = new Log();
    const relay = await startRelay(lane, { tls: true, logger: log.logger });
    const { host, port } = relay.target();
    const plain = async (...parts: readonly string[]) => {
      const wire = await Wire.open({ host, port });
      wire.write(...parts);
      await wire.ended();
    };
    await plain('GET / HTTP/1.1\r\n\r\n');
    await Wire.open({ host, port, tls: { ALPNProtocols: ['h2'], servername: 'relay.test' } }).catch(() => undefined);
    const request = await Wire.open(relay.target());
    request.write('GET / HTTP/1.1\r\n\r\n');
    expect((await request.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 400 /);
    // A well-formed request whose query a page refuses has brought a request.
    const query = await Wire.open(relay.target());
    query.write('GET /debug/clients/?ip=nowhere HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n');
    expect((await query.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 400 .*ip must be an IP address/s);
    const long = await Wire.open(relay.target());
    long.write(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`);
    expect((await long.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 431 /);
    const client = await DerpClient.dial(relay);
    client.wire.write(client.head, encodeFrame(FrameType.Ping, Buffer.alloc(8)));
    await client.wire.ended();
    await (await DerpClient.connect(relay, { meshKey: '77'.repeat(32) })).close();
    await (await DerpClient.connect(relay, { meshKey: MESH_KEY })).close();

    const peer = '"addr":"127.0.0.1:\\d+"';
    const lines = [
      `debug: a TLS handshake has failed {"reason":"http",${peer}}`,
      `debug: a TLS handshake has failed {"reason":"no_common_protocol",${peer},"serverName":"relay.test"}`,
      `debug: a connection has brought no request {"reason":"bad_request",${peer}}`,
      `debug: a connection has brought no request {"reason":"too_large",${peer}}`,
      `debug: a login has failed {"reason":"no_client_info",${peer}}`,
      `debug: a client shows a mesh key that is not the one of this relay {"reason":"wrong_mesh_key",${peer}}`,
    ];
    for (const line of lines) {
      const pattern = new RegExp(`^${line.replace(/[{}.]/g, '\\$&')}$`);
      await eventually(
        () => log.find(pattern),
        () => `${line}, in ${log.lines.join('\n')}`,
      );
    }
    expect(log.lines.filter((line) => line.includes('mesh key'))).toHaveLength(1);
    const varz = await Wire.open(relay.target());
    varz.write('GET /debug/varz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n');
    const metrics = (await varz.rest()).toString();
    for (const row of [
      'derpkit_handshakes_failed_total{reason="http"} 1',
      'derpkit_handshakes_failed_total{reason="no_common_protocol"} 1',
      'derpkit_requests_failed_total{reason="bad_request"} 1',
      'derpkit_requests_failed_total{reason="too_large"} 1',
      'derpkit_logins_failed_total{reason="no_client_info"} 1',
      'derpkit_logins_failed_total{reason="bad_box"} 0',
      'derpkit_wrong_mesh_keys_total 1',
    ]) {
      expect(metrics).toContain(`${row}\n`);
    }
  });
});
