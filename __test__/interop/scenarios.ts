/** What the specs here share: the scenarios, what relays need to run, and how one scenario is run. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildPeers, type Peers } from '../../packaging/peers.mjs';
import type { Relay } from './servers.ts';

export const run = promisify(execFile);

/** What relays over TLS are called here. */
export const SERVER_NAME = 'derp.test';

/** As `interop -list` prints them, first those for one relay; a test holds the two together. */
export const SCENARIOS = [
  'meta-certificate',
  'fast-start',
  'upgrade-tls12',
  'upgrade-plain',
  'server-info-first',
  'many-options',
  'post-quantum',
  'relay-tls',
  'relay-plain',
  'relay-to-self',
  'relay-too-large',
  'relay-last-words-tls',
  'relay-last-words-plain',
  'peer-gone-disconnected',
  'peer-gone-not-here',
  'ping',
  'note-preferred',
  'tolerated-frames',
  'duplicate-keys',
  'reconnect-100',
  'mesh-watch-ipv4',
  'mesh-watch-ipv6',
  'mesh-watch-loop',
  'mesh-watch-refused',
  'mesh-close-peer',
  'mesh-close-peer-refused',
  'mesh-forward',
  'mesh-forward-refused',
  'mesh-wrong-key',
  'region-ideal-node',
  'websocket',
  'stun',
  'stun-silence',
  'http-probe',
  'http-upgrade-required',
  'http-generate-204',
  'http-pages',
  'http-port-80',
  'metrics',
  'debug-check',
  'traffic-200-clients',
  'traffic-200-clients-disco',
  'traffic-overload',
] as const;

/** Those that need three relays in a mesh, in the order in which they are run. */
export const RING_SCENARIOS = [
  'ring-relay',
  'ring-peer-gone',
  'ring-watchers',
  'ring-close-peer',
  'ring-move',
  'ring-two-places',
  'ring-traffic',
  'ring-cut',
  'ring-stall',
  'ring-restart',
  'ring-ten-breaks',
  'ring-5000-announced',
  'ring-5000-announcing',
  'ring-wrong-key',
  'ring-untrusted',
  'ring-own-key',
] as const;

/** What derpkit does not do yet. Held both ways: one that passes all the same fails the run, until its entry is gone. */
export const NOT_YET: ReadonlySet<string> = new Set();

/** What the JS plane cannot do, because this Node's OpenSSL cannot: X25519MLKEM768 came with 3.5. */
export const NODE_CANNOT: ReadonlySet<string> = new Set(
  Number.parseFloat(process.versions.openssl) < 3.5 ? ['post-quantum'] : [],
);

/** What only TLS 1.3 has. */
export const NEEDS_TLS_13: ReadonlySet<string> = new Set(['fast-start', 'post-quantum']);

/** The built peers, and a directory with certificates for the host names, a mesh key, and room for the relays' keys. */
export interface Workspace {
  readonly peers: Peers;
  readonly directory: string;
  /** Trusts the certificates. */
  readonly authority: string;
  readonly meshKey: string;
  remove(): void;
}

export async function makeWorkspace(...hostnames: string[]): Promise<Workspace> {
  const peers = await buildPeers();
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-interop-'));
  await run(peers.interop, ['-make-cert', directory, '-server-name', hostnames.join(',')]);
  const meshKey = join(directory, 'mesh.key');
  writeFileSync(meshKey, `${'5eed'.repeat(16)}\n`);
  const remove = () => rmSync(directory, { recursive: true, force: true });
  return { peers, directory, authority: join(directory, 'ca.crt'), meshKey, remove };
}

/** Runs one scenario. If it fails, the error has what it said, and what the relays said meanwhile. */
export async function runScenario(
  { peers, authority, meshKey }: Workspace,
  scenario: string,
  flags: Readonly<Record<string, string>>,
  relays: Readonly<Record<string, Relay>>,
): Promise<void> {
  const quietUntil = Object.values(relays).map((relay) => relay.output.length);
  const target = Object.entries(flags).flatMap(([flag, value]) => [`-${flag}`, value]);
  try {
    await run(peers.interop, ['-run', scenario, '-ca', authority, '-mesh-key-file', meshKey, ...target]);
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    const said = Object.entries(relays).map(
      ([name, relay], i) => `${name}:\n${lastLines(relay.output.slice(quietUntil[i]))}`,
    );
    throw new Error([stderr + stdout, ...said].join('\n'));
  }
}

export function lastLines(text: string): string {
  return text.split('\n').slice(-60).join('\n');
}
