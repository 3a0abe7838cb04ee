/** Settings that change while a relay runs: those that apply, their effect on connected clients, and those that need a restart. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { RelayConfig } from '../../src/config.js';
import { ConfigError } from '../../src/errors.js';
import { type NodeKey, nodeKeyHex } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { isLetIn } from '../helpers/is-let-in.js';
import { LANES } from '../helpers/lanes.js';
import { Log } from '../helpers/log.js';
import { MESH_KEY, pemPair, startRelay, type TestRelay } from '../helpers/relay.js';
import { ALLOW, silence, TestVerifier } from '../helpers/verifier.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

function file(text: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-reload-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'file');
  writeFileSync(path, text);
  return path;
}

function listOf(...keys: readonly NodeKey[]): string {
  return file(keys.map((key) => `nodekey:${nodeKeyHex(key)}\n`).join(''));
}

/** Reloads with these settings in place of those that the relay was made with. */
function reload({ relay, config }: TestRelay, changes: RelayConfig) {
  return relay.reload({ ...config, ...changes });
}

describe.each(LANES)('reloaded admission, $name', (lane) => {
  it('a reload closes clients that the new admission refuses, and keeps the others and mesh peers', async () => {
    const relay = await startRelay(lane);
    const [kept, closed] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const peer = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    const { applied, needRestart } = await reload(relay, { admission: { verifiers: [{ keys: listOf(kept.key) }] } });
    expect({ applied, needRestart }).toEqual({ applied: ['admission.verifiers'], needRestart: [] });
    await closed.closed();
    expect(await relay.endOf(closed.key)).toBe('refused');
    await kept.fence();
    await peer.fence();
    expect(await isLetIn(relay)).toBe(false);
    expect(await isLetIn(relay, { keys: kept.keys })).toBe(true);
    // And back: no client needs an admission any more.
    await reload(relay, {});
    expect(await isLetIn(relay)).toBe(true);
    await kept.fence();
  });

  it('a reload follows the new list, and not the old one', async () => {
    const [before, now] = [listOf(), listOf()];
    const relay = await startRelay(lane, { config: { admission: { deny: { keys: before } } } });
    const client = await DerpClient.connect(relay);
    await reload(relay, { admission: { deny: { keys: now } } });
    writeFileSync(before, `nodekey:${nodeKeyHex(client.key)}\n`);
    await relay.relay.reload();
    await client.fence();
    writeFileSync(now, `nodekey:${nodeKeyHex(client.key)}\n`);
    await relay.relay.reload();
    await client.closed();
    expect(await relay.endOf(client.key)).toBe('refused');
  });

  it('a reload closes clients of an app that is refused now', async () => {
    const relay = await startRelay(lane);
    const [app, other] = [await DerpClient.connect(relay, { appName: 'x' }), await DerpClient.connect(relay)];
    expect((await reload(relay, { disallowAppNames: 'x' })).applied).toEqual(['disallowAppNames']);
    await app.closed();
    expect(await relay.endOf(app.key)).toBe('refused');
    await other.fence();
    expect(await isLetIn(relay, { appName: 'x' })).toBe(false);
    await other.fence();
  });

  it('a reload decides anew about a login that waits', async () => {
    const verifier = await TestVerifier.listen(silence);
    onTestFinished(() => verifier.close());
    const relay = await startRelay(lane, { config: { admission: { verifiers: [{ url: verifier.url, timeout: 0 }] } } });
    const client = await DerpClient.dial(relay);
    client.wire.write(client.head, client.clientInfo);
    client.readFrames();
    await client.expect('ServerKey');
    await eventually(() => verifier.asked.length === 1, 'the verifier to be asked');
    await reload(relay, { admission: { verifiers: [{ keys: listOf(client.key) }] } });
    await client.expect('ServerInfo');
    await client.fence();
  });

  it('a reload keeps the figures of a verifier that stays', async () => {
    const keys = listOf();
    const relay = await startRelay(lane, { config: { admission: { verifiers: [{ keys }] } } });
    expect(await isLetIn(relay)).toBe(false);
    const denied = () => relay.relay.admission()?.outcomes.find(({ of }) => of[1] === 'denied')?.value;
    expect(denied()).toBe(1);
    await reload(relay, { admission: { verifiers: [{ keys }], questions: 3 } });
    expect(denied()).toBe(1);
    expect(await isLetIn(relay)).toBe(false);
    expect(denied()).toBe(2);
  });
});

describe.each(LANES)('other reloaded settings, $name', (lane) => {
  it('a reload replaces certificates: the next handshake gets the new one, and connections stay', async () => {
    const [first, second] = [pemPair(['derp.test']), pemPair(['derp.test'])];
    const relay = await startRelay(lane, { tls: true, config: { certificate: first } });
    const shown = async (ca: string) => {
      const wire = await Wire.open(relay.target({ servername: 'derp.test', ca, rejectUnauthorized: true }));
      await wire.destroy();
    };
    const client = await DerpClient.connect(relay);
    await shown(first.chain);
    expect((await reload(relay, { certificate: second })).applied).toEqual(['certificate']);
    await relay.commandsDone();
    await shown(second.chain);
    await expect(shown(first.chain)).rejects.toThrow();
    await client.fence();
    const bad = { chain: second.chain, key: first.key };
    await expect(reload(relay, { certificate: bad, debugHint: true })).rejects.toBeInstanceOf(ConfigError);
    await shown(second.chain);
  });

  it('a reload changes the receive limit, also for connected clients', async () => {
    const relay = await startRelay(lane);
    const [client, other] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const limit = file('{"PerClientRateLimitBytesPerSec": 1}');
    expect((await reload(relay, { rateConfig: limit })).applied).toEqual(['rateConfig']);
    await relay.commandsDone();
    for (let count = 0; count < 3; count++) client.sendPacket(other.key, Buffer.alloc(60_000));
    await eventually(() => relay.count('rate_limit_waits') > 0, 'the client to be held');
    await reload(relay, {});
    for (let count = 0; count < 3; count++) await other.expect('RecvPacket');
  });

  it('a reload changes the host names of /debug/', async () => {
    const relay = await startRelay(lane);
    const seen = async () => (await ask(relay.target(), '/debug/varz', { headers: { host: 'ops.test' } })).status;
    expect(await seen()).toBe(403);
    await reload(relay, { debugHosts: ['ops.test'] });
    expect(await seen()).toBe(200);
    await reload(relay, {});
    expect(await seen()).toBe(403);
  });

  it('a reload changes the debug logs, from the next login on', async () => {
    const log = new Log();
    const relay = await startRelay(lane, { logger: log.logger });
    await DerpClient.connect(relay);
    await reload(relay, { debugLogs: true });
    const second = await DerpClient.connect(relay);
    const logins = log.lines.filter((line) => line.startsWith('info: client logs in'));
    expect(logins).toEqual([expect.stringContaining(nodeKeyHex(second.key))]);
  });

  it('a reload names settings that need a restart, but no value', async () => {
    const log = new Log();
    const relay = await startRelay(lane, { logger: log.logger });
    const changes = { meshKey: '5'.repeat(64), queueDepth: 7, limits: { perAddress: 9 }, debugHint: true };
    const report = { applied: ['debugHint'], needRestart: ['queueDepth', 'limits.perAddress', 'meshKey'] };
    expect(await reload(relay, changes)).toEqual(report);
    expect(log.lines.filter((line) => line.startsWith('warn: '))).toEqual([
      'warn: settings have changed that need a restart {"settings":"queueDepth,limits.perAddress,meshKey"}',
    ]);
    expect(log.lines.join()).not.toContain('55555');
    // The settings differ from those in force until a restart.
    expect(await reload(relay, changes)).toEqual({ ...report, applied: [] });
  });

  it('a reload with an unusable setting or file changes nothing', async () => {
    const relay = await startRelay(lane);
    const client = await DerpClient.connect(relay);
    const refused = async (changes: object, path: string) => {
      const error = await reload(relay, { debugHint: true, disallowAppNames: '', ...changes }).catch(
        (caught) => caught,
      );
      expect(error).toBeInstanceOf(ConfigError);
      expect((error as ConfigError).problems.map((problem) => problem.path)).toEqual([path]);
    };
    await refused({ queueDepth: 0 }, 'queueDepth');
    await refused({ nonsense: 1 }, 'nonsense');
    await refused({ rateConfig: '/nonexistent' }, 'rateConfig');
    await refused({ admission: { verifiers: [{ keys: '/nonexistent' }] } }, 'admission.verifiers.0.keys');
    await client.fence();
    expect((await reload(relay, { debugHint: true })).applied).toEqual(['debugHint']);
  });

  it('a reload names each file that cannot be used, and takes the others over', async () => {
    const verifier = await TestVerifier.listen(ALLOW);
    onTestFinished(() => verifier.close());
    const [bad, good, list, rate] = [file('X-Own: 1\n'), file('X-Own: 1\n'), listOf(), file('{}')];
    const verifiers = [
      { url: verifier.url, headersFile: bad },
      { url: verifier.url, headersFile: good },
      { keys: list },
    ];
    const relay = await startRelay(lane, { config: { admission: { policy: 'all', verifiers }, rateConfig: rate } });
    for (const path of [bad, list, rate]) writeFileSync(path, 'nonsense\n');
    writeFileSync(good, 'X-Own: 2\n');
    const error = await relay.relay.reload().catch((caught: Error) => caught);
    expect((error as Error).message.split('; ')).toEqual([
      `${rate}: it is not JSON`,
      `${bad}: line 1 is not a header of the form Name: value`,
      expect.stringMatching(`^${list}: line 1 is not a node key`),
    ]);
    expect(await isLetIn(relay)).toBe(false);
    expect(verifier.asked.map(({ headers }) => headers['x-own'])).toEqual(['1', '2']);
  });

  it('the last of several reloads at once counts', async () => {
    const relay = await startRelay(lane);
    const reports = await Promise.all([
      reload(relay, { debugHosts: ['a.test'] }),
      reload(relay, { debugHosts: ['b.test'] }),
      reload(relay, { debugHosts: ['b.test'] }),
    ]);
    expect(reports.map(({ applied }) => applied)).toEqual([['debugHosts'], ['debugHosts'], []]);
  });
});
