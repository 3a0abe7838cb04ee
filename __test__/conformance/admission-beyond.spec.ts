/** Admission beyond derper: it remembers, asks again, closes clients that are no longer allowed, and asks the embedder. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { RelayConfig } from '../../src/config.js';
import { formatNodeKey, generateKeyPair, type KeyPair, nodeKeyHex } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { isLetIn } from '../helpers/is-let-in.js';
import { LANES } from '../helpers/lanes.js';
import { Log } from '../helpers/log.js';
import { MESH_KEY, startRelay, type TestRelay } from '../helpers/relay.js';
import { ALLOW, DENY, hangUp, reply, type Say, silence, TestVerifier } from '../helpers/verifier.js';
import { eventually } from '../helpers/wait.js';

type Admission = NonNullable<RelayConfig['admission']>;

const DENY_ALL: Say = DENY;

async function verifier(say: Say): Promise<TestVerifier> {
  const made = await TestVerifier.listen(say);
  onTestFinished(() => made.close());
  return made;
}

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'derpkit-admission-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Replaces a list as a whole, as tools do. */
function write(path: string, ...keys: readonly KeyPair[]): void {
  writeFileSync(`${path}.new`, keys.map(({ publicKey }) => `${formatNodeKey(publicKey)} # a client\n`).join(''));
  renameSync(`${path}.new`, path);
}

/** How often a verifier came to an outcome; all verifiers, if none is named. */
function outcomes(relay: TestRelay, outcome: string): number {
  const rows = relay.relay.admission()?.outcomes ?? [];
  return rows.filter(({ of }) => of[1] === outcome).reduce((sum, { value }) => sum + value, 0);
}

describe.each(LANES)('the answers of verifiers, $name', (lane) => {
  it('the relay caches admissions and refusals, but no answers of a key file', async () => {
    const asked = await verifier(ALLOW);
    const relay = await startRelay(lane, { config: { admission: { verifiers: [{ url: asked.url }] } } });
    const [friend, stranger] = [generateKeyPair(), generateKeyPair()];
    for (let time = 0; time < 3; time++) expect(await isLetIn(relay, { keys: friend })).toBe(true);
    asked.say = DENY;
    for (let time = 0; time < 3; time++) expect(await isLetIn(relay, { keys: stranger })).toBe(false);
    expect(asked.keys).toEqual([formatNodeKey(friend.publicKey), formatNodeKey(stranger.publicKey)]);
    expect(outcomes(relay, 'cached')).toBe(4);
  });

  it('the last admission counts while the verifier fails, until the grace ends', async () => {
    const asked = await verifier(ALLOW);
    const cache = { allow: 0, deny: 0, grace: '1h' };
    const relay = await startRelay(lane, { config: { admission: { verifiers: [{ url: asked.url }], cache } } });
    const friend = generateKeyPair();
    expect(await isLetIn(relay, { keys: friend })).toBe(true);
    for (const say of [hangUp, reply('502 Bad Gateway'), reply('200 OK', 'nonsense')]) {
      asked.say = say;
      expect(await isLetIn(relay, { keys: friend })).toBe(true);
      expect(await isLetIn(relay)).toBe(false);
    }
    // A refusal is an answer, and the last good one is over.
    for (const refusal of [DENY, reply('403 Forbidden')]) {
      asked.say = ALLOW;
      expect(await isLetIn(relay, { keys: friend })).toBe(true);
      asked.say = refusal;
      expect(await isLetIn(relay, { keys: friend })).toBe(false);
      asked.say = hangUp;
      expect(await isLetIn(relay, { keys: friend })).toBe(false);
    }
    const without = { ...cache, grace: 0 };
    const strict = await startRelay(lane, {
      config: { admission: { verifiers: [{ url: asked.url }], cache: without } },
    });
    asked.say = ALLOW;
    expect(await isLetIn(strict, { keys: friend })).toBe(true);
    asked.say = hangUp;
    expect(await isLetIn(strict, { keys: friend })).toBe(false);
  });

  it('the relay asks equal questions once, and bounds the number of different ones', async () => {
    const held: (() => void)[] = [];
    const asked = await verifier((one, socket) => void held.push(() => void ALLOW(one, socket)));
    const admission: Admission = { verifiers: [{ url: asked.url, timeout: '1m' }], questions: 2 };
    const relay = await startRelay(lane, { config: { admission } });
    const twins = generateKeyPair();
    const clients = await Promise.all(
      [twins, twins, twins, undefined, undefined].map((keys) => DerpClient.dial(relay, keys ? { keys } : {})),
    );
    for (const client of clients) client.wire.write(client.head, client.clientInfo);
    await eventually(() => held.length === 2, 'two questions');
    await relay.untilCount('accepts', 5);
    await relay.commandsDone();
    expect(asked.asked).toHaveLength(2);
    for (let answered = 0; answered < 3; answered++) {
      await eventually(() => held.length > answered, 'the next question');
      held[answered]?.();
    }
    await relay.untilFigures({ connections: 5 });
    expect(new Set(asked.keys).size).toBe(3);
    expect(asked.keys).toHaveLength(3);
  });
});

describe.each(LANES)('rechecks of connected clients, $name', (lane) => {
  it('the relay closes a client that is no longer allowed, even while its packets flow', async () => {
    const refused = new Set<string>();
    const asked = await verifier((one, socket) => {
      const key = /nodekey:[0-9a-f]+/.exec(one.body)?.[0] ?? '';
      (refused.has(key) ? DENY : ALLOW)(one, socket);
    });
    const admission: Admission = { verifiers: [{ url: asked.url }], recheck: '1s' };
    const relay = await startRelay(lane, { config: { admission } });
    const [stays, goes] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const flood = setInterval(() => {
      if (!goes.wire.isOver) goes.sendPacket(stays.key, 'x'.repeat(1000));
    }, 1);
    onTestFinished(() => clearInterval(flood));
    stays.onPacket = () => {};
    refused.add(formatNodeKey(goes.key));
    await goes.closed();
    clearInterval(flood);
    expect(await relay.endOf(goes.key)).toBe('refused');
    expect(outcomes(relay, 'kicked')).toBe(1);
    expect(await stays.expect('PeerGone')).toMatchObject({ key: goes.key, reason: 0 });
  });

  it('the relay closes no client while the verifier fails and the grace lasts', async () => {
    const asked = await verifier(ALLOW);
    const relay = await startRelay(lane, {
      config: { admission: { verifiers: [{ url: asked.url }], recheck: '1s', cache: { grace: '1h' } } },
    });
    const client = await DerpClient.connect(relay);
    asked.say = reply('500 Internal Server Error');
    const before = asked.asked.length;
    await eventually(() => asked.asked.length >= before + 3, 'three more questions');
    expect(await client.fence()).toEqual([]);
    asked.say = DENY_ALL;
    await client.closed();
  });

  it('the relay closes every client once the verifier has failed for the whole grace', async () => {
    const asked = await verifier(ALLOW);
    const relay = await startRelay(lane, {
      config: { admission: { verifiers: [{ url: asked.url }], recheck: '1s', cache: { grace: '1500ms' } } },
    });
    const client = await DerpClient.connect(relay);
    asked.say = hangUp;
    await client.closed();
    expect(await relay.endOf(client.key)).toBe('refused');
  });

  it('the relay does not recheck mesh peers', async () => {
    const asked = await verifier(DENY);
    const relay = await startRelay(lane, { config: { admission: { verifiers: [{ url: asked.url }], recheck: '1s' } } });
    const peer = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    expect(await isLetIn(relay)).toBe(false);
    expect(await peer.fence()).toEqual([]);
    expect(asked.asked).toHaveLength(1);
  });
});

describe.each(LANES)('a key list, $name', (lane) => {
  it('a key list admits its keys, and the relay closes every connection of a key that is removed', async () => {
    const path = join(directory(), 'allow.txt');
    const [stays, goes, comes] = [generateKeyPair(), generateKeyPair(), generateKeyPair()];
    write(path, stays, goes);
    const relay = await startRelay(lane, { config: { admission: { verifiers: [{ keys: path }], recheck: 0 } } });
    const staying = await DerpClient.connect(relay, { keys: stays });
    const going = [await DerpClient.connect(relay, { keys: goes }), await DerpClient.connect(relay, { keys: goes })];
    expect(await isLetIn(relay, { keys: comes })).toBe(false);
    write(path, stays, comes);
    for (const client of going) await client.closed();
    expect(await isLetIn(relay, { keys: goes })).toBe(false);
    expect(await isLetIn(relay, { keys: comes })).toBe(true);
    expect(await staying.fence()).toEqual([]);
  });

  it('a key list that is read again without a change is not logged', async () => {
    const path = join(directory(), 'allow.txt');
    const [one, other] = [generateKeyPair(), generateKeyPair()];
    write(path, one);
    const log = new Log();
    const relay = await startRelay(lane, {
      logger: log.logger,
      config: { admission: { verifiers: [{ keys: path }] } },
    });
    const news = () => log.lines.filter((line) => line.includes('a list of keys has changed')).length;
    await relay.relay.reload();
    expect(news()).toBe(0);
    write(path, one, other);
    await relay.relay.reload();
    expect(news()).toBe(1);
  });

  it('a missing or malformed key list stays as before, and an empty one admits no client', async () => {
    const path = join(directory(), 'allow.txt');
    const [one, other] = [generateKeyPair(), generateKeyPair()];
    write(path, one);
    const relay = await startRelay(lane, { config: { admission: { verifiers: [{ keys: path }] } } });
    const client = await DerpClient.connect(relay, { keys: one });
    for (const change of [() => rmSync(path), () => writeFileSync(path, 'nonsense\n')]) {
      change();
      await expect(relay.relay.reload()).rejects.toThrow();
      expect(await isLetIn(relay, { keys: one })).toBe(true);
      expect(await isLetIn(relay, { keys: other })).toBe(false);
    }
    expect(await client.fence()).toEqual([]);
    write(path);
    await client.closed();
    expect(await isLetIn(relay, { keys: one })).toBe(false);
  });

  it('a change of a key list makes the relay ask other verifiers anew', async () => {
    const path = join(directory(), 'allow.txt');
    const [listed, other, asked] = [generateKeyPair(), generateKeyPair(), await verifier(ALLOW)];
    write(path, listed);
    const verifiers = [{ keys: path }, { url: asked.url }];
    const relay = await startRelay(lane, { config: { admission: { verifiers } } });
    for (let time = 0; time < 2; time++) expect(await isLetIn(relay, { keys: other })).toBe(true);
    expect(asked.asked).toHaveLength(1);
    write(path, listed, generateKeyPair());
    await relay.relay.reload();
    asked.say = DENY;
    expect(await isLetIn(relay, { keys: other })).toBe(false);
    expect(asked.asked).toHaveLength(2);
  });

  it('a deny list overrides every verifier, and closes clients that are added', async () => {
    const path = join(directory(), 'deny.txt');
    const [bad, good] = [generateKeyPair(), generateKeyPair()];
    write(path, bad);
    const asked = await verifier(ALLOW);
    const admission: Admission = { verifiers: [{ url: asked.url }], deny: { keys: path } };
    const relay = await startRelay(lane, { config: { admission } });
    expect(await isLetIn(relay, { keys: bad })).toBe(false);
    const client = await DerpClient.connect(relay, { keys: good });
    write(path, bad, good);
    await client.closed();
    expect(asked.keys).toEqual([formatNodeKey(good.publicKey)]);
  });

  it('a deny list that changes while a client waits for admission counts for that client, too', async () => {
    const path = join(directory(), 'deny.txt');
    const [bad, good] = [generateKeyPair(), generateKeyPair()];
    write(path);
    const held: (() => void)[] = [];
    const asked = await verifier((one, socket) => void held.push(() => void ALLOW(one, socket)));
    const verifiers = [{ url: asked.url, timeout: '1m' }];
    const relay = await startRelay(lane, { config: { admission: { verifiers, deny: { keys: path }, recheck: 0 } } });
    const clients = await Promise.all([bad, good].map((keys) => DerpClient.dial(relay, { keys })));
    for (const client of clients) client.wire.write(client.head, client.clientInfo);
    await eventually(() => held.length === 2, 'two questions');
    write(path, bad);
    await relay.relay.reload();
    for (const answer of held.splice(0)) answer();
    // The relay asks about both clients once more.
    await eventually(() => held.length > 0, 'another question');
    for (const answer of held.splice(0)) answer();
    const [first, second] = clients as [DerpClient, DerpClient];
    await first.closed();
    expect(await relay.endOf(bad.publicKey)).toBe('refused');
    second.readFrames();
    await second.expect('ServerKey');
    await second.expect('ServerInfo');
    expect(await second.fence()).toEqual([]);
  });

  it('a key list admits alone under policy any, and not under policy all', async () => {
    const path = join(directory(), 'allow.txt');
    const keys = generateKeyPair();
    write(path, keys);
    const asked = await verifier(DENY);
    const verifiers = [{ url: asked.url }, { keys: path }];
    const all = await startRelay(lane, { config: { admission: { policy: 'all', verifiers } } });
    expect(await isLetIn(all, { keys })).toBe(false);
    const any = await startRelay(lane, { config: { admission: { policy: 'any', verifiers } } });
    const before = asked.asked.length;
    expect(await isLetIn(any, { keys })).toBe(true);
    // The list decides without a question.
    expect(asked.asked).toHaveLength(before);
    expect(await isLetIn(any)).toBe(false);
    expect(asked.asked).toHaveLength(before + 1);
  });

  it('the relay does not wait for a silent verifier once a key list has decided', async () => {
    const slow = await verifier(silence);
    const quick = await verifier(ALLOW);
    const verifiers = [{ url: slow.url, timeout: '1m' }, { url: quick.url }];
    const relay = await startRelay(lane, { config: { admission: { policy: 'any', verifiers } } });
    expect(await isLetIn(relay)).toBe(true);
    await eventually(() => slow.connections > 0, 'the silent one to be asked too');
  });
});

describe.each(LANES)('headers for a verifier, $name', (lane) => {
  it('a file of headers is read again on reload, and its last headers stay if it becomes malformed', async () => {
    const path = join(directory(), 'headers');
    const asked = await verifier(ALLOW);
    const headers = { authorization: 'Bearer fixed', 'x-own': 'first' };
    const verifiers = [{ url: asked.url, headers, headersFile: path }];
    writeFileSync(path, 'X-Own: second\n');
    const config = { admission: { verifiers, cache: { allow: 0, deny: 0, grace: 0 } } };
    const relay = await startRelay(lane, { config });
    const sent = async () => {
      expect(await isLetIn(relay)).toBe(true);
      const { authorization, 'x-own': own } = asked.asked.at(-1)?.headers ?? {};
      return [authorization, own];
    };
    expect((await sent())[0]).toBe('Bearer fixed');
    writeFileSync(path, 'Authorization: Bearer fresh\n');
    await relay.relay.reload();
    expect((await sent())[0]).toBe('Bearer fresh');
    writeFileSync(path, 'nonsense\n');
    await expect(relay.relay.reload()).rejects.toThrow();
    expect((await sent())[0]).toBe('Bearer fresh');
  });
});

describe.each(LANES)('a storm of logins at a slow verifier, $name', (lane) => {
  it('the relay loses no login of a storm', { timeout: 300_000 }, async () => {
    const count = process.env.DERPKIT_LONG === undefined ? 300 : 1000;
    let [atOnce, most] = [0, 0];
    let isFull = () => {};
    const full = new Promise<void>((resolve) => {
      isFull = resolve;
    });
    const asked = await verifier(async (one, socket) => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      // The first answers wait for as many questions as may be asked at once, however slowly clients come.
      if (atOnce === 64) isFull();
      await full;
      await new Promise((resolve) => setTimeout(resolve, 200));
      atOnce -= 1;
      return ALLOW(one, socket);
    });
    const admission: Admission = { verifiers: [{ url: asked.url }], recheck: 0 };
    const relay = await startRelay(lane, { tls: false, config: { admission } });
    const clients = await Promise.all([...Array(count)].map(() => DerpClient.connect(relay)));
    expect(asked.asked).toHaveLength(count);
    expect(most).toBe(64);
    await relay.untilFigures({ connections: count });
    await Promise.all(clients.map((client) => client.close()));
  });
});

describe.each(LANES)('two connections of one key, $name', (lane) => {
  it('the relay decides about each connection of a key, so refusing one leaves the other open', async () => {
    const asked = await verifier(ALLOW);
    const cache = { allow: 0, deny: 0, grace: 0 };
    const relay = await startRelay(lane, { config: { admission: { verifiers: [{ url: asked.url }], cache } } });
    const first = await DerpClient.connect(relay);
    asked.say = DENY;
    expect(await isLetIn(relay, { keys: first.keys })).toBe(false);
    const sender = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    sender.sendPacket(first.key, 'still here');
    expect(await first.expectPacket('still here')).toBe(sender.key);
    expect(nodeKeyHex(first.key)).toHaveLength(64);
  });
});
