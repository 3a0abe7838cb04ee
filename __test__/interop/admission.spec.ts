/**
 * Admission by a real headscale and a real tailscaled, beside the real derper. They take minutes to build: they are used
 * where they are built, and `npm run test:long` builds them.
 */

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { builtTailnet } from '../../packaging/tailnet.mjs';
import { generateKeyPair, type KeyPair, type NodeKey } from '../../src/protocol/key.js';
import { createRelay, type Relay as OwnRelay } from '../../src/relay.js';
import { DerpClient, upgradeRequest } from '../helpers/client.js';
import { getsIn } from '../helpers/is-let-in.js';
import { type Target, Wire } from '../helpers/wire.js';
import { makeWorkspace, SERVER_NAME, type Workspace } from './scenarios.ts';
import { Relay } from './servers.ts';
import { type Node, Tailnet } from './tailnet.ts';

const binaries = builtTailnet();
const SIDES = ['derper', 'js', 'native'] as const;

let workspace: Workspace;
let tailnet: Tailnet;
/** Beside the relays, and a client of theirs. */
let neighbour: Node;
let member: Node;

describe.skipIf(!binaries)('a tailnet', () => {
  beforeAll(async () => {
    workspace = await makeWorkspace(SERVER_NAME);
    tailnet = await Tailnet.start(binaries as NonNullable<typeof binaries>);
    neighbour = await tailnet.node('neighbour');
    member = await tailnet.node('member');
    await tailnet.untilKnown(neighbour, member, true);
  });

  afterAll(async () => {
    await tailnet?.stop();
    workspace?.remove();
  });

  describe.each(SIDES)('%s', (side) => {
    it.each([
      ['tailscaled', () => ['-verify-clients', '-socket', neighbour.socket]],
      ['headscale', () => ['-verify-client-url', tailnet.verifyUrl, '-verify-client-url-fail-open=false']],
      ['both', () => ['-verify-clients', '-socket', neighbour.socket, '-verify-client-url', tailnet.verifyUrl]],
    ])('a relay that verifies by %s admits nodes of the tailnet, and no others', async (by, flags) => {
      const relay = await start(side, `${side}-${by}`, flags());
      expect(await isLetIn(relay, member.keys)).toBe(true);
      expect(await isLetIn(relay, neighbour.keys)).toBe(true);
      expect(await isLetIn(relay, generateKeyPair())).toBe(false);
    });
  });

  it('a relay closes a node that is removed from the tailnet, and admits it nowhere again', async () => {
    const verifiers = [
      ['tailscaled', { tailscaled: neighbour.socket }],
      ['headscale', { url: tailnet.verifyUrl }],
    ] as const;
    const clients: [string, DerpClient, Target][] = [];
    for (const plane of ['js', 'native'] as const) {
      for (const [by, verifier] of verifiers) {
        const target = await own({
          plane,
          admission: { verifiers: [verifier], recheck: '1s', cache: { allow: '1h', deny: 0, grace: '1h' } },
        });
        clients.push([`${plane}, ${by}`, await logIn(target, member.keys), target]);
      }
    }
    const derper = await start('derper', 'derper-removed', ['-verify-clients', '-socket', neighbour.socket]);
    for (const [, client] of clients) expect(await client.fence()).toEqual([]);
    await tailnet.remove(member);
    await tailnet.untilKnown(neighbour, member, false);
    for (const [name, client, target] of clients) {
      await client.closed(60_000).catch(() => expect.fail(`${name} does not close the client`));
      expect(await isLetIn(target, member.keys), name).toBe(false);
    }
    expect(await isLetIn(derper, member.keys)).toBe(false);
  });
});

async function start(side: (typeof SIDES)[number], name: string, flags: readonly string[]): Promise<Target> {
  const relay = await Relay.start(side === 'derper' ? 'derper' : 'derpkit', workspace.peers, {
    directory: workspace.directory,
    name,
    address: '127.0.0.1',
    flags,
    env: side === 'derper' ? {} : { DERPKIT_PLANE: side },
  });
  onTestFinished(async () => {
    await relay.stop();
  });
  return { host: relay.address, port: relay.port };
}

async function own(config: Parameters<typeof createRelay>[0]): Promise<Target> {
  const common = { listen: '127.0.0.1:0', certMode: 'off', httpPort: -1, stun: false, logLevel: 'silent' } as const;
  const privateKey = `privkey:${Buffer.from(generateKeyPair().privateKey).toString('hex')}`;
  const relay: OwnRelay = createRelay({ ...common, privateKey, ...config });
  onTestFinished(() => relay.close());
  await relay.start();
  return { host: '127.0.0.1', port: relay.address?.derp.port ?? 0 };
}

async function logIn(target: Target, keys: KeyPair): Promise<DerpClient> {
  const client = new DerpClient(await Wire.open(target), await serverKey(target), { keys });
  await client.login();
  return client;
}

async function isLetIn(target: Target, keys: KeyPair): Promise<boolean> {
  return getsIn(new DerpClient(await Wire.open(target), await serverKey(target), { keys }));
}

async function serverKey(target: Target): Promise<NodeKey> {
  const wire = await Wire.open(target);
  wire.write(upgradeRequest());
  const head = (await wire.takeThrough('\r\n\r\n')).toString('latin1');
  await wire.destroy();
  const hex = /^Derp-Public-Key: ([0-9a-f]{64})\r$/m.exec(head)?.[1] ?? '';
  return Buffer.from(hex, 'hex').toString('latin1') as NodeKey;
}
