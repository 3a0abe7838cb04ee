/** Admission as derper does it: the effect of every answer of a verifier, and the questions to verifiers. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { RelayConfig } from '../../src/config.js';
import { formatNodeKey, generateKeyPair } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { isLetIn } from '../helpers/is-let-in.js';
import { LANES } from '../helpers/lanes.js';
import { MESH_KEY, startRelay, type TestRelay } from '../helpers/relay.js';
import { ALLOW, DENY, type Say, silence, TestVerifier, tailscaled } from '../helpers/verifier.js';
import { CONTROLLER_ANSWERS, TAILSCALED_ANSWERS } from '../helpers/verifier-answers.js';
import { eventually } from '../helpers/wait.js';

type Verifiers = NonNullable<NonNullable<RelayConfig['admission']>['verifiers']>;

/** What the flags of derper make. */
function asDerper(verifiers: Verifiers): RelayConfig {
  return { admission: { policy: 'all', verifiers, cache: { allow: 0, deny: 0, grace: 0 }, recheck: 0 } };
}

async function verifier(say: Say, path?: string): Promise<TestVerifier> {
  const made = await TestVerifier.listen(say, path);
  onTestFinished(() => made.close());
  return made;
}

function socketPath(): string {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-tailscaled-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'tailscaled.sock');
}

/** Whether a client is let in. */
async function fate(relay: TestRelay, options = {}): Promise<'let in' | 'refused'> {
  return (await isLetIn(relay, options)) ? 'let in' : 'refused';
}

describe.each(LANES)('an admission controller, $name', (lane) => {
  it.each([true, false])(
    'the relay reads an admission controller’s answers as derper does, failOpen %s',
    async (failOpen) => {
      const asked = await verifier(ALLOW);
      const relay = await startRelay(lane, { config: asDerper([{ url: asked.url, failOpen }]) });
      const found: Record<string, string> = {};
      const wanted: Record<string, string> = {};
      for (const { name, say, fate: expected } of CONTROLLER_ANSWERS) {
        asked.say = say;
        found[name] = await fate(relay);
        wanted[name] = expected === 'unreached' ? (failOpen ? 'let in' : 'refused') : expected;
      }
      expect(found).toEqual(wanted);
    },
  );

  it('the relay asks an admission controller about every login, with key, address and no content type', async () => {
    const asked = await verifier(ALLOW);
    const relay = await startRelay(lane, { config: asDerper([{ url: `${asked.url}?tailnet=x` }]) });
    const client = await DerpClient.connect(relay);
    await DerpClient.connect(relay, { keys: client.keys });
    expect(asked.asked).toHaveLength(2);
    for (const { method, target, headers, body } of asked.asked) {
      expect([method, target]).toEqual(['POST', '/verify?tailnet=x']);
      expect(body).toBe(`{"NodePublic":"${formatNodeKey(client.key)}","Source":"127.0.0.1"}`);
      expect(headers).toMatchObject({ host: `127.0.0.1:${asked.port}`, 'content-length': String(body.length) });
      expect(headers).not.toHaveProperty('content-type');
    }
  });

  it.each([
    ['before its head', silence, true],
    [
      'within its body',
      (_asked: unknown, socket: Parameters<Say>[1]) =>
        void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"Allow":tr'),
      false,
    ],
  ])(
    'the relay gives up on a controller that stops %s; failOpen admits the client: %s',
    async (_where, say, letsIn) => {
      const asked = await verifier(say as Say);
      const open = await startRelay(lane, { config: asDerper([{ url: asked.url, failOpen: true, timeout: 200 }]) });
      expect(await fate(open)).toBe(letsIn ? 'let in' : 'refused');
      const closed = await startRelay(lane, { config: asDerper([{ url: asked.url, failOpen: false, timeout: 200 }]) });
      expect(await fate(closed)).toBe('refused');
    },
  );

  it('an unreachable controller refuses clients, or admits them with failOpen', async () => {
    const gone = await verifier(ALLOW);
    const { url } = gone;
    await gone.close();
    const open = await startRelay(lane, { config: asDerper([{ url, failOpen: true }]) });
    expect(await fate(open)).toBe('let in');
    const closed = await startRelay(lane, { config: asDerper([{ url }]) });
    expect(await fate(closed)).toBe('refused');
  });

  it('the relay asks no admission controller about mesh peers', async () => {
    const asked = await verifier(DENY);
    const relay = await startRelay(lane, { config: asDerper([{ url: asked.url }]) });
    await DerpClient.connect(relay, { meshKey: MESH_KEY });
    expect(await fate(relay, { meshKey: 'ab'.repeat(32) })).toBe('refused');
    expect(asked.asked).toHaveLength(1);
  });

  it('the relay asks no admission controller about an app that is not allowed', async () => {
    const asked = await verifier(ALLOW);
    const config = { ...asDerper([{ url: asked.url }]), disallowAppNames: ['one'] };
    Object.assign(config.admission ?? {}, { deny: { apps: ['two'] } });
    const relay = await startRelay(lane, { config });
    expect(await fate(relay, { appName: 'one' })).toBe('refused');
    expect(await fate(relay, { appName: 'two' })).toBe('refused');
    expect(asked.asked).toHaveLength(0);
    expect(await fate(relay, { appName: 'three' })).toBe('let in');
  });
});

describe.each(LANES)('a tailscaled, $name', (lane) => {
  it('the relay reads tailscaled’s answers as derper does', async () => {
    const socket = socketPath();
    const asked = await verifier(silence, socket);
    const relay = await startRelay(lane, { config: asDerper([{ tailscaled: socket, timeout: 0 }]) });
    const found: Record<string, string> = {};
    for (const { name, say } of TAILSCALED_ANSWERS) {
      asked.say = say;
      found[name] = await fate(relay);
    }
    expect(found).toEqual(Object.fromEntries(TAILSCALED_ANSWERS.map(({ name, fate: expected }) => [name, expected])));
  });

  it('the relay asks tailscaled as Go’s client does', async () => {
    const socket = socketPath();
    const keys = generateKeyPair();
    const name = formatNodeKey(keys.publicKey);
    const asked = await verifier(tailscaled(new Set([name])), socket);
    const relay = await startRelay(lane, { config: asDerper([{ tailscaled: socket }]) });
    expect(await fate(relay, { keys })).toBe('let in');
    expect(asked.asked).toHaveLength(1);
    const [{ method, target, headers }] = asked.asked as [(typeof asked.asked)[0]];
    expect([method, target]).toEqual(['GET', `/localapi/v0/whois?addr=${encodeURIComponent(name)}`]);
    expect(headers).toMatchObject({ host: 'local-tailscaled.sock', 'tailscale-cap': '148' });
    for (const header of ['origin', 'referer', 'content-type']) expect(headers).not.toHaveProperty(header);
    expect(await fate(relay)).toBe('refused');
  });

  it('the relay finds a tailscaled again that has replaced its socket', async () => {
    const socket = socketPath();
    const relay = await startRelay(lane, { config: asDerper([{ tailscaled: socket }]) });
    expect(await fate(relay)).toBe('refused');
    const everyone: Say = (asked, to) =>
      tailscaled(new Set([decodeURIComponent(asked.target.split('addr=')[1] ?? '')]))(asked, to);
    const first = await verifier(everyone, socket);
    expect(await fate(relay)).toBe('let in');
    await first.close();
    expect(await fate(relay)).toBe('refused');
    const second = await verifier(everyone, socket);
    expect(await fate(relay)).toBe('let in');
    // The connection that is kept ends without an answer, and the question is asked again on another.
    second.hangUp();
    expect(await fate(relay)).toBe('let in');
  });

  it('a tailscaled and a controller must both admit a client, and a refusal of the first spares the second', async () => {
    const socket = socketPath();
    const keys = generateKeyPair();
    await verifier(tailscaled(new Set([formatNodeKey(keys.publicKey)])), socket);
    const asked = await verifier(DENY);
    const relay = await startRelay(lane, { config: asDerper([{ tailscaled: socket }, { url: asked.url }]) });
    expect(await fate(relay)).toBe('refused');
    expect(asked.asked).toHaveLength(0);
    expect(await fate(relay, { keys })).toBe('refused');
    expect(asked.asked).toHaveLength(1);
    asked.say = ALLOW;
    expect(await fate(relay, { keys })).toBe('let in');
  });
});

describe.each(LANES)('a client that waits for admission, $name', (lane) => {
  it('a client that waits delays no other, and is admitted when the answer comes', async () => {
    const answers: (() => void)[] = [];
    const asked = await verifier((one, socket) => void answers.push(() => void ALLOW(one, socket)));
    const relay = await startRelay(lane, { config: asDerper([{ url: asked.url, timeout: '1m' }]) });
    const early = await DerpClient.dial(relay);
    early.wire.write(early.head, early.clientInfo);
    early.readFrames();
    await early.expect('ServerKey');
    await eventually(() => answers.length === 1, 'the question');
    const peer = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    expect(await peer.fence()).toEqual([]);
    answers[0]?.();
    await early.expect('ServerInfo');
    expect(await early.fence()).toEqual([]);
  });

  it('packets sent before the decision arrive after an admission, and never after a refusal', async () => {
    const answers = new Map<string, Say>();
    const held: (() => void)[] = [];
    const asked = await verifier((one, socket) => {
      const name = /nodekey:[0-9a-f]+/.exec(one.body)?.[0] ?? '';
      held.push(() => void (answers.get(name) ?? ALLOW)(one, socket));
    });
    const relay = await startRelay(lane, { config: asDerper([{ url: asked.url, timeout: '1m' }]) });
    const receiver = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    for (const [say, text] of [
      [DENY, 'of the refused'],
      [ALLOW, 'of the allowed'],
    ] as const) {
      const sender = await DerpClient.dial(relay);
      answers.set(formatNodeKey(sender.key), say);
      const questions = held.length;
      sender.wire.write(sender.head, sender.clientInfo);
      sender.sendPacket(receiver.key, text);
      await eventually(() => held.length > questions, 'the question');
      held.at(-1)?.();
      if (say === DENY) await sender.closed();
    }
    expect(await receiver.expectPacket('of the allowed')).not.toBe('');
    expect(await receiver.fence()).not.toContainEqual(expect.objectContaining({ type: 'RecvPacket' }));
  });

  it('packets sent before a half-close arrive after the admission, and then the connection ends', async () => {
    const held: (() => void)[] = [];
    const asked = await verifier((one, socket) => void held.push(() => void ALLOW(one, socket)));
    const relay = await startRelay(lane, { config: asDerper([{ url: asked.url, timeout: '1m' }]) });
    const receiver = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    const sender = await DerpClient.dial(relay);
    sender.wire.write(sender.head, sender.clientInfo);
    sender.sendPacket(receiver.key, 'last words');
    sender.wire.end();
    await eventually(() => held.length > 0, 'the question');
    held[0]?.();
    expect(await receiver.expectPacket('last words')).toBe(sender.key);
    expect(await relay.endOf(sender.key)).toBe('disconnected');
  });

  it('a client that leaves while it waits aborts the question, and is not admitted later', async () => {
    let gone = false;
    const asked = await verifier((_one, socket) => {
      socket.on('close', () => {
        gone = true;
      });
    });
    const relay = await startRelay(lane, { config: asDerper([{ url: asked.url, timeout: '1m' }]) });
    const client = await DerpClient.dial(relay);
    client.wire.write(client.head, client.clientInfo);
    await eventually(() => asked.asked.length === 1, 'the question');
    await client.close();
    await eventually(() => gone, 'the question to be given up');
    expect(relay.connected).toEqual([]);
  });

  it('the plane ends a client that waits longer than the admission deadline', async () => {
    const asked = await verifier(silence);
    const config = asDerper([{ url: asked.url, timeout: 0 }]);
    const relay = await startRelay(lane, { config, policy: { deadlines: { admission: 200 } } });
    expect(await fate(relay)).toBe('refused');
    expect(relay.connected).toEqual([]);
  });
});
