/** The packets with which a relay finds out whether it relays: what they tell, and that nothing else tells of them. */
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { parseSettings } from '../../src/config.js';
import { COUNTER_NAMES } from '../../src/plane/counters.js';
import { Table } from '../../src/plane/js/table.js';
import { WATCH_CONNS_FRAME } from '../../src/protocol/frame.js';
import { planePolicy } from '../../src/relay/policy.js';
import { DerpClient } from '../helpers/client.js';
import { type Answer, ask } from '../helpers/http.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { Log } from '../helpers/log.js';
import { MESH_KEY, startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

const METRICS = { metrics: { listen: 0 } };
/** A packet is due all the time, and vouches for the plane for a little longer. */
const SHORT = { interval: 10, patience: 300 };

const readyz = (relay: TestRelay): Promise<Answer> => ask(relay.metricsTarget(), '/readyz');

async function all<T>(from: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = [];
  for await (const each of from) got.push(each);
  return got;
}

/** Waits until the relay says so of itself; resolves with what it says. */
async function until(relay: TestRelay, status: 200 | 503): Promise<string> {
  let answer: Answer | undefined;
  await eventually(
    async () => {
      answer = await readyz(relay);
      return answer.status === status;
    },
    () => `/readyz to answer ${status}, not ${answer?.status}: ${answer?.body}`,
  );
  return answer?.body ?? '';
}

describe.each(LANES)('readiness, $name', (lane) => {
  it('a relay is ready once a packet has passed through its plane', async () => {
    const relay = await startRelay(lane, { config: METRICS });
    expect(await until(relay, 200)).toBe('ready\n');
    expect((await ask(relay.metricsTarget(), '/metrics')).body).toContain('\nderpkit_ready 1\n');
    expect(relay.logins).toHaveLength(2);
  });

  it('a relay without DERP is ready without a packet', async () => {
    const relay = await startRelay(lane, { config: { ...METRICS, derp: false } });
    expect(await readyz(relay)).toMatchObject({ status: 200, body: 'ready\n' });
    expect(relay.logins).toEqual([]);
  });

  it('a relay that does not let its own connections in is not ready, and says why; it is again when it does', async () => {
    const relay = await startRelay(lane, { config: METRICS, dataPathTimes: SHORT });
    await until(relay, 200);
    const usual = planePolicy(parseSettings(relay.config));
    relay.dataPlane.policy({ ...usual, limits: { ...usual.limits, pendingLogins: 0 } });
    for (const { login } of relay.logins) relay.dataPlane.close(login.id, 'closed');
    expect(await until(relay, 503)).toMatch(/^not ready:\nno packet has passed through the data plane for \d+ s\n$/);
    expect((await ask(relay.metricsTarget(), '/metrics')).body).toContain('\nderpkit_ready 0\n');
    relay.dataPlane.policy(usual);
    await until(relay, 200);
  });

  it.skipIf(lane.planeKind !== 'js')('a relay whose plane finds no receiver is not ready', async () => {
    const relay = await startRelay(lane, { config: METRICS, dataPathTimes: SHORT });
    await until(relay, 200);
    const lookup = vi.spyOn(Table.prototype, 'lookup').mockReturnValue(undefined);
    expect(await until(relay, 503)).toContain('no packet has passed through the data plane for');
    lookup.mockRestore();
    await until(relay, 200);
  });

  it('a relay that closes is not ready any more, and alive until it has closed', async () => {
    const relay = await startRelay(lane, { config: METRICS });
    await until(relay, 200);
    let go = () => {};
    const held = new Promise<void>((resolve) => {
      go = resolve;
    });
    onTestFinished(() => go());
    const { dataPlane } = relay;
    const shutdown = dataPlane.shutdown.bind(dataPlane);
    vi.spyOn(dataPlane, 'shutdown').mockImplementation(async () => {
      await held;
      await shutdown();
    });
    const target = relay.metricsTarget();
    const closed = relay.relay.close();
    expect(await ask(target, '/readyz')).toMatchObject({ status: 503, body: 'not ready:\nthe relay is closing\n' });
    expect(await ask(target, '/healthz')).toMatchObject({ status: 200, body: 'alive\n' });
    go();
    await closed;
    await expect(ask(target, '/healthz')).rejects.toThrow();
  });
});

describe.each(LANES)('the packets of readiness, $name', (lane) => {
  it('no counter, client list, page, event, log, tap or admission tells of the packets of readiness', async () => {
    const log = new Log();
    const onAdmit = vi.fn(() => false);
    const relay = await startRelay(lane, { config: METRICS, dataPathTimes: SHORT, onAdmit, logger: log.logger });
    const tap = relay.dataPlane.tap({ snapLength: 100 });
    await until(relay, 200);
    // Many more of them, and connections that come and go.
    for (let round = 0; round < 3; round++) {
      const open = relay.logins.filter(({ hasEnded }) => !hasEnded);
      for (const { login } of open) relay.dataPlane.close(login.id, 'closed');
      await eventually(() => relay.logins.length >= 2 * (round + 2), 'other connections of the relay');
      await until(relay, 200);
    }
    const counters = relay.dataPlane.counters.readAll();
    const counted = COUNTER_NAMES.filter((name) => !name.startsWith('crossings_') && counters[name] !== 0);
    expect(counted).toEqual([]);
    expect(await relay.dataPlane.snapshot(0, 100)).toMatchObject({ total: 0, rows: new Float64Array() });
    expect(relay.relay.figures()).toMatchObject({ connections: 0, connectionsEver: 0, localKeys: 0, totalKeys: 0 });
    expect(await all(relay.relay.clients())).toEqual([]);
    const { body } = await ask(relay.target(), '/debug/clients.json');
    expect(JSON.parse(body)).toMatchObject({ clients: [] });
    expect((await ask(relay.target(), '/debug/check')).status).toBe(200);
    expect(relay.connected).toEqual([]);
    expect(onAdmit).not.toHaveBeenCalled();
    expect(log.lines.filter((line) => /client/.test(line))).toEqual([]);
    tap.stop();
    expect(await all(tap)).toEqual([]);
  });

  it('a mesh peer that watches is told of no connection of readiness', async () => {
    const relay = await startRelay(lane, { config: METRICS, dataPathTimes: SHORT });
    const peer = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    peer.send(WATCH_CONNS_FRAME);
    await until(relay, 200);
    for (const { login } of relay.logins) {
      if (login.key !== peer.key) relay.dataPlane.close(login.id, 'closed');
    }
    await eventually(() => relay.logins.length >= 5, 'other connections of the relay');
    await until(relay, 200);
    const told = (await peer.fence()).filter(({ type }) => type === 'PeerPresent' || type === 'PeerGone');
    expect(told).toMatchObject([{ type: 'PeerPresent', key: peer.key }]);
  });
});

it.each(LANES)('a relay without a metrics listener has no connections of its own, $name', async (lane) => {
  const relay = await startRelay(lane);
  await (await DerpClient.connect(relay)).close();
  expect(relay.relay.address?.metrics).toBeUndefined();
  expect(relay.logins).toHaveLength(1);
});
