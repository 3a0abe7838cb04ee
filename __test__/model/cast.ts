/** Who takes part in a trace. The same few keys in all of them: a login box is costly to seal, and may be opened often. */
import { createHash } from 'node:crypto';
import { type KeyPair, keyPairOf, type NodeKey } from '../../src/protocol/key.js';
import { sealClientInfo } from '../../src/protocol/login.js';
import { upgradeRequest } from '../helpers/client.js';
import { MESH_KEY } from '../helpers/relay.js';

export interface Actor {
  /** One letter, for traces and findings. */
  readonly name: string;
  readonly key: NodeKey;
  readonly mesh: boolean;
  /** Request and login, all that a client sends before it is let in. */
  readonly hello: Buffer;
}

export const RELAY_KEYS: KeyPair = keysOf('relay');

/** `N` is never there. */
export const ACTORS: readonly Actor[] = [
  actor('A', {}),
  actor('B', { IsProber: true }),
  actor('C', { AppName: 'model' }),
  actor('D', {}, true),
  actor('M', { meshKey: MESH_KEY }),
  actor('W', { meshKey: MESH_KEY, AppName: 'watcher' }),
  actor('N', {}),
];

/** Who connects from which slot: some keys have several. */
export const SLOTS: readonly Actor[] = [...'AAABBCDMMW'].map(named);

const NAMES: ReadonlyMap<NodeKey, string> = new Map(ACTORS.map(({ key, name }) => [key, name]));

export function named(name: string): Actor {
  const found = ACTORS.find((candidate) => candidate.name === name);
  if (!found) throw new Error(`nobody is called ${name}`);
  return found;
}

export function nameOf(key: NodeKey): string {
  return NAMES.get(key) ?? '?';
}

function actor(name: string, info: Record<string, unknown>, notIdeal = false): Actor {
  const keys = keysOf(name);
  const clientInfo = sealClientInfo(keys, RELAY_KEYS.publicKey, JSON.stringify({ version: 2, ...info }));
  const request = upgradeRequest({ 'Derp-Fast-Start': '1', ...(notIdeal && { 'Ideal-Node': 'elsewhere' }) });
  const hello = Buffer.concat([Buffer.from(request), clientInfo]);
  return { name, key: keys.publicKey, mesh: info.meshKey !== undefined, hello };
}

function keysOf(name: string): KeyPair {
  return keyPairOf(createHash('sha256').update(`derpkit model ${name}`).digest());
}
