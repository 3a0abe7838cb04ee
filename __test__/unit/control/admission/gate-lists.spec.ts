/** Gates whose lists of keys change. */
import { writeFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { Listed } from '../../../../src/control/admission/listed.js';
import { ALLOWED, type Answer, denied, type Question } from '../../../../src/control/admission/verifier.js';
import { formatNodeKey } from '../../../../src/protocol/key.js';
import { eventually, turn } from '../../../helpers/wait.js';
import { desk, keyFile, login, newKey, outcomes, setup, write } from './gates.js';

const HOUR = 3_600_000;

/** A verifier that remembers the keys it was asked about. */
function counting() {
  const keys: unknown[] = [];
  const ask = async ({ key }: Question) => {
    keys.push(key);
    return ALLOWED;
  };
  return { keys, ask };
}

describe('the lists of a gate', () => {
  it('a list admits its keys, and a client whose key is removed is closed', async () => {
    const [stays, goes] = [newKey(), newKey()];
    const list = await keyFile(stays, goes);
    const verifier = new Listed(list);
    expect(verifier).toMatchObject({ name: `keys ${list.path}`, bySource: false, local: true });
    const { keys, ask } = counting();
    const all = [desk('list', ask, { verifier }), desk('other', ask)];
    const { gate, kicked, lines } = setup({ policy: 'all', desks: all, lists: [list] });
    expect(await gate.login(login(1, stays))).toBeTruthy();
    for (const id of [2, 3]) expect(await gate.login(login(id, goes))).toBeTruthy();
    expect(await gate.login(login(4))).toBeNull();
    keys.length = 0;
    lines.length = 0;
    write(list, stays);
    await gate.reload();
    await turn();
    expect(kicked).toEqual([2, 3]);
    // Only the clients of keys that were removed are asked about, and the list refuses them.
    expect(keys).toEqual([]);
    expect(lines).toEqual([
      { level: 'info', text: 'a list of keys has changed', file: list.path, keys: 1 },
      {
        ...{ level: 'info', text: 'client is not allowed any more', key: formatNodeKey(goes) },
        ...{ addr: '192.0.2.1:7', verifier: 'list', reason: 'not in the list' },
      },
    ]);
  });

  it('a key that is added to a list changes nothing for connected clients', async () => {
    const { keys, ask } = counting();
    const [one, other] = [newKey(), newKey()];
    const list = await keyFile(one);
    const { gate } = setup({ desks: [desk('only', ask)], lists: [list] });
    for (const [id, key] of [one, other].entries()) await gate.login(login(id, key));
    write(list, one, other);
    await gate.reload();
    await turn();
    expect(keys).toEqual([one, other]);
  });

  it('a client whose key is added to the deny list is closed, and one whose key is removed is not asked about', async () => {
    const { keys, ask } = counting();
    const [bad, good] = [newKey(), newKey()];
    const deny = await keyFile(newKey());
    const { gate, kicked, lines } = setup({ desks: [desk('only', ask)], deny });
    for (const [id, key] of [bad, good].entries()) await gate.login(login(id, key));
    write(deny, bad);
    await gate.reload();
    await turn();
    expect(kicked).toEqual([0]);
    expect(lines[1]).toMatchObject({ verifier: 'deny', reason: 'in the list of keys that are refused' });
    expect(outcomes(gate)).toEqual({ 'only allowed': 2, 'deny kicked': 1 });
    write(deny);
    await gate.reload();
    await turn();
    expect(keys).toEqual([bad, good]);
  });

  it('a change of a list makes the gate ask the verifiers anew', async () => {
    const { keys, ask } = counting();
    const list = await keyFile();
    const key = newKey();
    const { gate } = setup({
      desks: [desk('only', ask, { cache: { allow: HOUR, deny: 0, grace: 0 } })],
      lists: [list],
    });
    for (const id of [1, 2]) await gate.login(login(id, key));
    expect(keys).toHaveLength(1);
    write(list, newKey());
    await gate.reload();
    await gate.login(login(3, key));
    expect(keys).toHaveLength(2);
  });

  it('a client that is admitted while a list changes is asked about once more, and no other is', async () => {
    const answers: ((answer: Answer) => void)[] = [];
    const ask = vi.fn(() => new Promise<Answer>((resolve) => answers.push(resolve)));
    const deny = await keyFile();
    const { gate, kicked } = setup({ desks: [desk('only', ask)], deny });
    const early = gate.login(login(1));
    await vi.waitFor(() => expect(ask).toHaveBeenCalledTimes(1));
    answers[0]?.(ALLOWED);
    expect(await early).toBeTruthy();
    const [bad, good] = [newKey(), newKey()];
    const waiting = [gate.login(login(2, bad)), gate.login(login(3, good))];
    await vi.waitFor(() => expect(ask).toHaveBeenCalledTimes(3));
    write(deny, bad);
    await gate.reload();
    for (const answer of answers) answer(ALLOWED);
    // The plane lets both in first; a client that it does not know yet cannot be closed.
    for (const decision of waiting) expect(await decision).toBeTruthy();
    expect(kicked).toEqual([]);
    await turn();
    expect(kicked).toEqual([2]);
    expect(ask).toHaveBeenCalledTimes(4);
    answers[3]?.(denied('no'));
    await turn();
    expect(kicked).toEqual([2, 3]);
  });

  it('a reload names every faulty list, and a list that the gate finds faulty by itself is logged', async () => {
    const [list, deny] = [await keyFile(), await keyFile()];
    const { gate, lines } = setup({ desks: [desk('only', async () => ALLOWED)], lists: [list], deny });
    for (const { path } of [list, deny]) writeFileSync(path, 'nonsense\n');
    const wrong = 'line 1 is not a node key: nodekey: and 64 hex digits, or the digits alone';
    const { message } = await gate.reload().catch((error) => error);
    expect(message.split('; ').sort()).toEqual([list, deny].map(({ path }) => `${path}: ${wrong}`).sort());
    await eventually(() => lines.length === 2, 'both lists to be logged', 10_000);
    const text = 'a list of keys cannot be used, and its last contents stay in force';
    for (const { path } of [list, deny]) {
      expect(lines).toContainEqual({ level: 'warn', text, file: path, reason: wrong });
    }
  });

  it('a gate that is closed closes its lists', async () => {
    const [list, deny] = [await keyFile(), await keyFile()];
    const { gate, lines } = setup({ desks: [desk('only', async () => ALLOWED)], lists: [list], deny });
    gate.close();
    for (const file of [list, deny]) write(file, newKey());
    await gate.reload();
    expect([list.keys.size, deny.keys.size, lines]).toEqual([0, 0, []]);
  });
});
