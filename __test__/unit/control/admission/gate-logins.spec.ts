/** What a gate makes of logins: which ones it asks about, and what it says of those that it refuses. */
import { describe, expect, it, vi } from 'vitest';
import type { AdmitClient } from '../../../../src/control/admission/hook.js';
import { ALLOWED, type Answer, denied, failed } from '../../../../src/control/admission/verifier.js';
import { openAdmission } from '../../../../src/control/admit.js';
import { formatNodeKey } from '../../../../src/protocol/key.js';
import { desk, keyFile, login, newKey, outcomes, setup } from './gates.js';

const ORDINARY = { mesh: false, receiveLimit: null };
const MESH_KEY = 'ab'.repeat(32);
const HOUR = 3_600_000;
const never = () => new Promise<Answer>(() => {});

describe('the logins at a gate', () => {
  it('a gate without verifiers, lists and hook decides at once', () => {
    const { gate } = setup();
    expect(gate.isOpen).toBe(true);
    expect(gate.login(login(1))).toEqual(ORDINARY);
    gate.gone(1);
  });

  it('a gate with a verifier, a deny list or a hook is not open', async () => {
    for (const options of [
      { desks: [desk('only', async () => ALLOWED)] },
      { deny: await keyFile() },
      { onAdmit: () => true },
    ]) {
      const { gate } = setup(options);
      expect(gate.isOpen).toBe(false);
      expect(await gate.login(login(1))).toEqual(ORDINARY);
    }
  });

  it('a gate asks no verifier about mesh peers', () => {
    const { gate } = setup({ rights: openAdmission(MESH_KEY, []), desks: [desk('only', never)] });
    expect(gate.login(login(1, newKey(), '', MESH_KEY))).toEqual({ mesh: true, receiveLimit: null });
  });

  it('a gate asks no verifier about unwanted apps, and counts them as denied', () => {
    const ask = vi.fn(never);
    const { gate, lines } = setup({ rights: openAdmission(undefined, ['bad']), desks: [desk('only', ask)] });
    const key = newKey();
    expect(gate.login(login(1, key, 'bad'))).toBeNull();
    expect(ask).not.toHaveBeenCalled();
    expect(outcomes(gate)).toEqual({ 'deny denied': 1 });
    const facts = { key: formatNodeKey(key), addr: '192.0.2.1:7', app: 'bad', verifier: 'deny' };
    expect(lines).toEqual([{ level: 'info', text: 'client refused', ...facts, reason: 'an app that is not allowed' }]);
  });

  it('a gate asks the verifier once while its answer counts', async () => {
    const ask = vi.fn(async () => ALLOWED);
    const { gate } = setup({ desks: [desk('only', ask, { cache: { allow: HOUR, deny: 0, grace: 0 } })] });
    const key = newKey();
    for (const id of [1, 2]) expect(await gate.login(login(id, key))).toEqual(ORDINARY);
    expect(ask.mock.calls).toEqual([[{ key, address: '192.0.2.1' }, expect.any(AbortSignal)]]);
    expect(outcomes(gate)).toEqual({ 'only allowed': 1, 'only cached': 1 });
  });

  it('a client that all verifiers refuse is logged with their reasons, and counted by each one', async () => {
    const { gate, lines } = setup({
      desks: [desk('first', async () => denied('no')), desk('second', async () => failed('it is down'))],
    });
    const key = newKey();
    expect(await gate.login(login(1, key))).toBeNull();
    const facts = { key: formatNodeKey(key), addr: '192.0.2.1:7', verifier: 'all verifiers' };
    const reason = 'first: no; second: it is down';
    expect(lines).toEqual([{ level: 'info', text: 'client refused', ...facts, reason }]);
    expect(outcomes(gate)).toEqual({ 'first denied': 1, 'second error': 1 });
    expect(gate.figures()?.outcomes).toHaveLength(12);
  });

  it('under policy all, each verifier must admit the client', async () => {
    const { gate } = setup({
      policy: 'all',
      desks: [desk('first', async () => ALLOWED), desk('second', async () => denied('no'))],
    });
    expect(await gate.login(login(1))).toBeNull();
  });

  it('the key of a client that is refused is in the deny list', async () => {
    const key = newKey();
    const ask = vi.fn(async () => ALLOWED);
    const { gate, lines } = setup({ desks: [desk('only', ask)], deny: await keyFile(key) });
    expect(await gate.login(login(1, key))).toBeNull();
    expect(ask).not.toHaveBeenCalled();
    expect(lines).toMatchObject([{ verifier: 'deny', reason: 'in the list of keys that are refused' }]);
    expect(outcomes(gate)).toEqual({ 'deny denied': 1 });
    expect(await gate.login(login(2))).toEqual(ORDINARY);
  });

  it('a gate that closes gives up the logins that wait, and closes its verifiers', async () => {
    const close = vi.fn();
    const given = vi.fn();
    const ask = (_question: unknown, signal: AbortSignal) => {
      signal.addEventListener('abort', given);
      return never();
    };
    const verifier = { name: 'only', bySource: false, ask, close };
    const { gate } = setup({ desks: [desk('only', ask, { verifier })] });
    const waiting = gate.login(login(1));
    await vi.waitFor(() => expect(gate.facts()).toContainEqual(['Admission by only', expect.stringContaining('1')]));
    gate.close();
    expect(await waiting).toBeUndefined();
    expect([given.mock.calls.length, close.mock.calls.length]).toEqual([1, 1]);
  });
});

describe('the hook of a gate', () => {
  it('the hook decides about clients that the verifiers have admitted, and about no others', async () => {
    const hook = vi.fn(({ appName }: AdmitClient) => appName !== 'unwanted');
    const ask = vi.fn(async () => ALLOWED);
    const { gate, lines } = setup({ desks: [desk('only', ask)], onAdmit: hook });
    const key = newKey();
    expect(await gate.login(login(1, key, 'app'))).toEqual(ORDINARY);
    const client = { key: formatNodeKey(key), appName: 'app', version: 2, address: '192.0.2.1', port: 7 };
    expect(hook).toHaveBeenLastCalledWith({ ...client, tlsVersion: '1.3', again: false }, expect.any(AbortSignal));
    expect(await gate.login(login(2, newKey(), 'unwanted'))).toBeNull();
    expect(lines).toMatchObject([{ verifier: 'onAdmit', reason: 'onAdmit', app: 'unwanted' }]);
    ask.mockResolvedValue(denied('no'));
    expect(await gate.login(login(3))).toBeNull();
    expect(hook).toHaveBeenCalledTimes(2);
    expect(outcomes(gate)).toEqual({
      'only allowed': 2,
      'only denied': 1,
      'onAdmit allowed': 1,
      'onAdmit denied': 1,
    });
  });

  it('a hook that fails refuses a login, also within the grace', async () => {
    const onAdmit = () => {
      throw new Error('oh');
    };
    const { gate, lines } = setup({ onAdmit, grace: HOUR });
    expect(await gate.login(login(1))).toBeNull();
    expect(lines).toMatchObject([{ verifier: 'onAdmit', reason: 'onAdmit threw: oh' }]);
    expect(outcomes(gate)).toEqual({ 'onAdmit error': 1 });
  });

  it('the hook gives a client a limit of its own, with room for the largest frame', async () => {
    const { gate } = setup({ onAdmit: () => ({ receive: { bytesPerSecond: 5 } }) });
    expect(await gate.login(login(1))).toEqual({
      mesh: false,
      receiveLimit: { bytesPerSecond: 5, burst: expect.any(Number) },
    });
  });
});
