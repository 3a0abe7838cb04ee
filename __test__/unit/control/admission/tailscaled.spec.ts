/** Reports about a tailscaled that does not answer as it should. */
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Tailscaled } from '../../../../src/control/admission/tailscaled.js';
import { formatNodeKey, generateKeyPair } from '../../../../src/protocol/key.js';
import { hangUp, reply, type Say, TestVerifier, tailscaled } from '../../../helpers/verifier.js';

const question = { key: generateKeyPair().publicKey, address: '192.0.2.1' };
const { signal } = new AbortController();

function path(): string {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-tailscaled-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'tailscaled.sock');
}

async function answerOf(socket: string, say?: Say) {
  const server = say && (await TestVerifier.listen(say, socket));
  const asked = new Tailscaled({ socket, uptime: () => 10_000 });
  const answer = await asked.ask(question, signal);
  asked.close();
  await server?.close();
  return answer;
}

const told = (status: string, body: string) => reply(status, body, { 'Tailscale-Version': '1.66.0' });

describe('a tailscaled', () => {
  it.each<[string, Say, string]>([
    [
      'that is too old',
      told('400 Bad Request', "invalid 'addr' parameter\n"),
      'is too old: it has to be 1.70 or newer',
    ],
    [
      'that denies access',
      told('403 Forbidden', 'whois access denied'),
      'access denied (whois access denied); the relay has',
    ],
    ['that is something else', reply('200 OK', 'hello'), 'the answer is not JSON'],
    ['that is something else, and says no', reply('404 Not Found', 'nginx'), 'the server there is not tailscaled (404'],
    ['that is not logged in', tailscaled(new Set(), 'NeedsLogin'), 'is not logged in: its state is NeedsLogin'],
    ['that has not begun', tailscaled(new Set(), 'NoState'), 'is not logged in: its state is NoState'],
    ['that hangs up', hangUp, ': '],
  ])('a tailscaled %s counts as failed, with the reason', async (_what, say, words) => {
    const answer = await answerOf(path(), say);
    expect(answer).toMatchObject({ kind: 'failed', reason: expect.stringContaining(words) });
  });

  it('a tailscaled that is logged in refuses unknown clients', async () => {
    expect(await answerOf(path(), tailscaled(new Set()))).toEqual({
      kind: 'denied',
      reason: 'not found in the local tailscaled',
    });
    expect(await answerOf(path(), tailscaled(new Set([formatNodeKey(question.key)])))).toEqual({ kind: 'allowed' });
  });

  it('a tailscaled is asked for its state at most once a second', async () => {
    const socket = path();
    const server = await TestVerifier.listen(tailscaled(new Set()), socket);
    const asked = new Tailscaled({ socket });
    for (let time = 0; time < 3; time++) await asked.ask(question, signal);
    expect(server.asked.filter(({ target }) => target.includes('/status'))).toHaveLength(1);
    asked.close();
    await server.close();
  });

  it('a kept connection that ends before an answer is no failure: the question is asked once more on a new one', async () => {
    const socket = path();
    const known = tailscaled(new Set([formatNodeKey(question.key)]));
    const used = new WeakSet<Socket>();
    const server = await TestVerifier.listen((one, connection) => {
      if (used.has(connection)) connection.destroy();
      else {
        used.add(connection);
        return known(one, connection);
      }
    }, socket);
    const asked = new Tailscaled({ socket, uptime: () => 10_000 });
    for (let time = 0; time < 2; time++) expect(await asked.ask(question, signal)).toEqual({ kind: 'allowed' });
    expect({ connections: server.connections, questions: server.asked.length }).toEqual({
      connections: 2,
      questions: 3,
    });
    // A new connection that ends is a failure.
    server.say = hangUp;
    expect(await asked.ask(question, signal)).toMatchObject({ kind: 'failed', unreached: true });
    asked.close();
    await server.close();
  });

  it('a relay that has just started waits for a tailscaled that starts beside it', async () => {
    const socket = path();
    const asked = new Tailscaled({ socket, uptime: () => 0 });
    const answer = asked.ask(question, signal);
    let isOver = false;
    const over = answer.finally(() => {
      isOver = true;
    });
    await once(createConnection(socket), 'error');
    expect(isOver).toBe(false);
    const server = await TestVerifier.listen(tailscaled(new Set([formatNodeKey(question.key)])), socket);
    await over;
    expect(await answer).toEqual({ kind: 'allowed' });
    asked.close();
    await server.close();
  });

  it('a tailscaled without a socket, or with a stale one, is unreachable', async () => {
    const socket = path();
    const missing = { kind: 'failed', unreached: true, reason: expect.stringContaining('there is no such socket') };
    expect(await answerOf(socket)).toMatchObject(missing);
    // A bind mount leaves such a socket when its server has ended.
    const server = await TestVerifier.listen(tailscaled(new Set()), socket);
    renameSync(socket, `${socket}.stale`);
    await server.close();
    const stale = {
      kind: 'failed',
      unreached: true,
      reason: expect.stringContaining('mount the directory, not the socket'),
    };
    expect(await answerOf(`${socket}.stale`)).toMatchObject(stale);
  });
});
