/** Gates whose verifiers the test answers for, and what they report. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { Desk, type DeskOptions } from '../../../../src/control/admission/desk.js';
import { type ConnectedClient, Gate, type GateOptions } from '../../../../src/control/admission/gate.js';
import { KeyFile } from '../../../../src/control/admission/key-file.js';
import type { Verifier } from '../../../../src/control/admission/verifier.js';
import { openAdmission } from '../../../../src/control/admit.js';
import type { ConnectionId, Login, ReceiveRate } from '../../../../src/plane/plane.js';
import { formatNodeKey, generateKeyPair, type NodeKey } from '../../../../src/protocol/key.js';

const NO_CACHE = { allow: 0, deny: 0, grace: 0 };

/** The desk of a verifier that answers so. */
export function desk(name: string, ask: Verifier['ask'], options: Partial<DeskOptions> = {}): Desk {
  const verifier: Verifier = { name, bySource: false, ask, close: () => {} };
  const common = { timeout: 0, failOpen: false, atOnce: 64, now: () => performance.now(), log: () => {} };
  return new Desk({ name, verifier, cache: NO_CACHE, ...common, ...options });
}

/** Rules that admit every client, but for these options. */
export function rules(options: Partial<GateOptions> = {}): GateOptions {
  return {
    rights: openAdmission(undefined, []),
    deniedApps: [],
    policy: 'any',
    desks: [],
    lists: [],
    deny: undefined,
    recheck: 0,
    grace: 0,
    onAdmit: undefined,
    hookTimeout: 60_000,
    ...options,
  };
}

/** A gate, the clients that it has closed, their new limits, and its log. */
export function setup(options: Partial<GateOptions> = {}) {
  const kicked: ConnectionId[] = [];
  const limits: [ConnectionId, ReceiveRate | null][] = [];
  const lines: object[] = [];
  const gate = new Gate(rules(options), {
    kick: (id) => kicked.push(id),
    limit: (id, limit) => limits.push([id, limit]),
    log: (level, facts, text) => lines.push({ level, text, ...facts }),
  });
  gate.start();
  onTestFinished(() => gate.close());
  return { gate, kicked, limits, lines };
}

/** Lets the test move the time of rechecks. */
export function fakeTime(): void {
  vi.useFakeTimers({ toFake: ['performance', 'setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
}

export function newKey(): NodeKey {
  return generateKeyPair().publicKey;
}

export function login(id: ConnectionId, key = newKey(), appName = '', meshKey?: string): Login {
  const info = { meshKey, canAckPings: true, isProber: false, version: 2, appName };
  return { id, key, info, peer: { address: '192.0.2.1', port: 7 }, tlsVersion: '1.3', notIdeal: false };
}

/** What a relay knows of a client that has logged in so. */
export function connected({ id, key, info: { appName }, peer: { address, port } }: Login): ConnectedClient {
  return { id, key, address, port, appName };
}

/** A list of keys in a file of its own. */
export async function keyFile(...keys: readonly NodeKey[]): Promise<KeyFile> {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-list-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = new KeyFile(join(directory, 'keys.txt'));
  write(file, ...keys);
  await file.load();
  onTestFinished(() => file.close());
  return file;
}

export function write({ path }: KeyFile, ...keys: readonly NodeKey[]): void {
  writeFileSync(path, keys.map((key) => `${formatNodeKey(key)}\n`).join(''));
}

/** The outcomes of a gate that are not 0. */
export function outcomes(gate: Gate): Record<string, number> {
  const rows = gate.figures()?.outcomes.filter(({ value }) => value > 0) ?? [];
  return Object.fromEntries(rows.map(({ of, value }) => [of.join(' '), value]));
}
