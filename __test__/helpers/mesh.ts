/** Relays that mesh with each other over TLS, as operators run them: with a certificate that the system trusts. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { freePorts } from '../../src/bench/ports.js';
import { formatNodeKey, type KeyPair, type NodeKey } from '../../src/protocol/key.js';
import type { Lane } from './lanes.js';
import { newRelay, ownCertificate, type TestRelay, type TestRelayOptions } from './relay.js';
import { eventually } from './wait.js';

/** Soon enough for a test, late enough to see what a lost link leaves behind. */
const MESH_TIMES = { connect: 10_000, retry: 300, jitter: 100 };

export interface MeshNodeOptions extends TestRelayOptions {
  readonly port: number;
  /** Whom it meshes with, as in the setting. */
  readonly meshWith: readonly string[];
}

/** A relay on a port that others know, not started yet. */
export function meshNode(lane: Lane, { port, meshWith, config, ...rest }: MeshNodeOptions): TestRelay {
  return newRelay(lane, {
    tls: true,
    meshTimes: MESH_TIMES,
    ...rest,
    config: { listen: `127.0.0.1:${port}`, meshWith: [...meshWith], ...config },
  });
}

/** How a setting names a relay on this machine. */
export function named(port: number): string {
  return `127.0.0.1:${port}`;
}

/** So many relays, all of them connected to all others. */
export async function startMesh(lane: Lane, count: number, options: TestRelayOptions = {}): Promise<TestRelay[]> {
  trustOwnCertificate();
  const ports = await freePorts(count);
  const nodes = ports.map((port) =>
    meshNode(lane, { ...options, port, meshWith: ports.filter((other) => other !== port).map(named) }),
  );
  await Promise.all(nodes.map((node) => node.relay.start()));
  await Promise.all(nodes.map((node) => meshed(node)));
  return nodes;
}

/** All links of a relay are up. Each other relay announces at least this one. */
export async function meshed(node: TestRelay): Promise<void> {
  await eventually(
    () => node.relay.mesh().every(({ state, peers }) => state === 'connected' && peers > 0),
    () => `links to be up: ${JSON.stringify(node.relay.mesh())}`,
  );
}

/** The relay knows of a key at so many others, which is: in all, and no more. */
export async function untilRemote(node: TestRelay, keys: number): Promise<void> {
  const remote = () => node.relay.figures().totalKeys - node.relay.figures().localKeys;
  await eventually(
    () => remote() === keys,
    () => `${keys} keys at other relays, not ${remote()}: ${JSON.stringify(node.relay.mesh())}`,
  );
}

/** Which of the relays that `node` meshes with has this key. */
export function linkTo(node: TestRelay, keys: KeyPair) {
  return node.relay.mesh().find(({ publicKey }) => publicKey === formatNodeKey(keys.publicKey));
}

/** What the environment would have to say for a certificate to be trusted: that of the tests, if none is named. */
export function trustOwnCertificate(pem = ownCertificate().chain): void {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-mesh-'));
  onTestFinished(() => {
    vi.unstubAllEnvs();
    rmSync(directory, { recursive: true });
  });
  const file = join(directory, 'roots.pem');
  writeFileSync(file, pem);
  // Both: reading everything else that is trusted takes time, and shows nothing.
  vi.stubEnv('SSL_CERT_FILE', file);
  vi.stubEnv('SSL_CERT_DIR', directory);
}

/** The ids of the connections of a key. */
export function idsOf(node: TestRelay, key: NodeKey): number[] {
  const name = formatNodeKey(key);
  const ended = new Set(node.disconnected.map(({ id }) => id));
  return node.connected.filter((event) => event.key === name && !ended.has(event.id)).map(({ id }) => id);
}

let lastHost = 0;

/** Addresses of this machine that no other test has: all of 127.0.0.0/8 is. */
export function hosts(count: number): string[] {
  return [...Array(count)].map(() => {
    lastHost += 1;
    return `127.${process.pid % 200}.${Math.floor(lastHost / 200) + 7}.${(lastHost % 200) + 1}`;
  });
}
