/** What the answers of a tailscaled mean, word for word. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { MacApp } from '../../../../src/control/admission/mac-app.js';
import { Tailscaled, type TailscaledOptions } from '../../../../src/control/admission/tailscaled.js';
import { denied, failed } from '../../../../src/control/admission/verifier.js';
import { formatNodeKey } from '../../../../src/protocol/key.js';
import { bytes, hangUp, reply, type Say, silence, type TestVerifier, tailscaled } from '../../../helpers/verifier.js';
import { TAILSCALED_ANSWERS } from '../../../helpers/verifier-answers.js';
import { bound, question, server } from './controllers.js';

const KEY = formatNodeKey(question.key);
const KNOWN = tailscaled(new Set([KEY]));
const VERSION = { 'Tailscale-Version': '1.104.5' };
const told = (status: string, body: string) => reply(status, body, VERSION);

function socketPath(): string {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-tailscaled-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'tailscaled.sock');
}

function asking(socket: string, options: Partial<TailscaledOptions> = {}): Tailscaled {
  const made = new Tailscaled({ socket, uptime: () => 10_000, ...options });
  onTestFinished(() => made.close());
  return made;
}

/** A tailscaled that says so, and what asks it. */
async function telling(say: Say): Promise<{ asked: Tailscaled; socket: string; daemon: TestVerifier }> {
  const socket = socketPath();
  return { daemon: await server(say, socket), socket, asked: asking(socket) };
}

/** Answers the question about the client, and the one about the state, with two texts. */
function stating(status: Say): Say {
  return (one, socket) => (one.target.includes('/status') ? status : told('404 Not Found', 'no match'))(one, socket);
}

describe('the answers of a tailscaled', () => {
  it('the answers of a tailscaled mean what derper makes of them', async () => {
    const { asked, daemon } = await telling(silence);
    const found: Record<string, string> = {};
    for (const { name, say } of TAILSCALED_ANSWERS) {
      daemon.say = say;
      found[name] = (await asked.ask(question, bound())).kind === 'allowed' ? 'let in' : 'refused';
    }
    expect(found).toEqual(Object.fromEntries(TAILSCALED_ANSWERS.map(({ name, fate }) => [name, fate])));
  });

  it('a tailscaled answers for a key, wherever its client is', () => {
    expect(asking(socketPath()).bySource).toBe(false);
  });

  it('a tailscaled is asked as Go’s client does, over a connection that is kept until the end', async () => {
    const { asked, daemon, socket } = await telling(KNOWN);
    expect(asked.name).toBe(`tailscaled ${socket}`);
    for (let time = 0; time < 2; time++) expect(await asked.ask(question, bound())).toEqual({ kind: 'allowed' });
    expect(daemon.connections).toBe(1);
    const headers = { host: 'local-tailscaled.sock', 'tailscale-cap': '148', connection: 'keep-alive' };
    const target = `/localapi/v0/whois?addr=${encodeURIComponent(KEY)}`;
    expect(daemon.asked[0]).toEqual({ method: 'GET', target, headers, body: '' });
    let isClosed = false;
    daemon.say = (one, connection) => {
      connection.on('close', () => {
        isClosed = true;
      });
      return KNOWN(one, connection);
    };
    await asked.ask(question, bound());
    asked.close();
    await vi.waitFor(() => expect(isClosed).toBe(true), 10_000);
  });

  it.each<[string, Say, string]>([
    [
      'that is too old',
      told('400 Bad Request', "invalid 'addr' parameter\n"),
      ' is too old: it has to be 1.70 or newer to be asked for node keys',
    ],
    [
      'that denies access',
      told('403 Forbidden', '  whois access denied\n'),
      ': access denied (whois access denied); the relay has to run as root, or as its operator',
    ],
    ['that is something else', reply('404 Not Found', 'x'), ': the server there is not tailscaled (404 Not Found)'],
    [
      'that fails',
      told('500 Internal Server Error', ` ${'x'.repeat(200)}`),
      `: 500 Internal Server Error: ${'x'.repeat(100)}`,
    ],
    ['that tells no JSON', told('200 OK', 'hello'), ': the answer is not JSON'],
    ['that breaks off', bytes('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}', true), ': the answer is not JSON'],
    [
      'with a state that has no end',
      stating(told('200 OK', JSON.stringify({ BackendState: 'x'.repeat(100) }))),
      ` is not logged in: its state is ${'x'.repeat(40)}`,
    ],
    ['without a state', stating(told('200 OK', '{"BackendState":1}')), ' does not report its state'],
    ['whose state is null', stating(told('200 OK', 'null')), ' does not report its state'],
    ['whose state is no JSON', stating(told('200 OK', 'Running')), ' does not report its state'],
    ['whose state is secret', stating(told('500 No', 'why')), ': 500 No: why'],
  ])('a tailscaled %s is reported word for word', async (_what, say, reason) => {
    const { asked } = await telling(say);
    // It may be the end of a connection, too, which no test of an answer is about.
    const answer = await asked.ask(question, bound());
    expect(answer).toEqual(failed(`${asked.name}${reason}`));
  });

  it.each<[string, Say, string | RegExp]>([
    ['that hangs up', hangUp, ': it closes connections without an answer'],
    ['that speaks no HTTP', bytes('SSH-2.0-OpenSSH_9.9\r\n', true), /: it cannot be asked \(Parse Error: .+\)$/],
  ])('a tailscaled %s cannot be reached', async (_what, say, reason) => {
    const { asked } = await telling(say);
    const answer = await asked.ask(question, bound());
    expect(answer).toMatchObject({ kind: 'failed', unreached: true, timeout: false });
    expect(answer).toHaveProperty('reason', expect.stringMatching(reason));
  });

  it('a tailscaled without a socket, or with one that nothing listens at, is reported with the way out', async () => {
    const missing = asking(socketPath());
    expect(await missing.ask(question, bound())).toEqual(
      failed(
        `${missing.name}: there is no such socket; tailscaled does not run, or its directory is not mounted here`,
        {
          unreached: true,
        },
      ),
    );
    const { asked, daemon } = await telling(KNOWN);
    await daemon.close();
    const answer = await asked.ask(question, bound());
    expect(answer).toMatchObject({ kind: 'failed', unreached: true });
  });

  it('a tailscaled that does not answer in time is reported so', async () => {
    const abort = new AbortController();
    const { asked } = await telling(() => abort.abort());
    const late = failed(`${asked.name} does not answer`, { timeout: true, unreached: true });
    expect(await asked.ask(question, abort.signal)).toEqual(late);
    const status = new AbortController();
    const { asked: other } = await telling(stating(() => status.abort()));
    expect(await other.ask(question, status.signal)).toMatchObject({ kind: 'failed', timeout: true });
  });

  it('a tailscaled that was logged in is believed for a second', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const { asked, daemon } = await telling(tailscaled(new Set()));
    const unknown = denied('not found in the local tailscaled');
    const questions = async () => {
      expect(await asked.ask(question, bound())).toEqual(unknown);
      return daemon.asked.splice(0).map(({ target }) => /v0\/(\w+)/.exec(target)?.[1]);
    };
    vi.advanceTimersByTime(5000);
    expect(await questions()).toEqual(['whois', 'status']);
    vi.advanceTimersByTime(999);
    expect(await questions()).toEqual(['whois']);
    vi.advanceTimersByTime(1);
    expect(await questions()).toEqual(['whois', 'status']);
  });
});

describe('the patience with a tailscaled that starts', () => {
  it('a relay that runs for two seconds does not wait for a tailscaled', async () => {
    const uptime = vi.fn(() => 2000);
    expect(await asking(socketPath(), { uptime }).ask(question, bound())).toMatchObject({ timeout: false });
    expect(uptime).toHaveBeenCalledOnce();
  });

  it('the time of the relay is that of its process', async () => {
    const uptime = vi.spyOn(process, 'uptime').mockReturnValueOnce(1.9).mockReturnValue(2);
    onTestFinished(() => uptime.mockRestore());
    const made = new Tailscaled({ socket: socketPath() });
    onTestFinished(() => made.close());
    expect(await made.ask(question, bound())).toMatchObject({ kind: 'failed', timeout: false });
    expect(uptime).toHaveBeenCalledTimes(2);
  });

  it('a relay that has just started gives up when the client does', async () => {
    const abort = new AbortController();
    const uptime = vi.fn(() => {
      abort.abort();
      return 0;
    });
    const made = asking(socketPath(), { uptime });
    expect(await made.ask(question, abort.signal)).toMatchObject({ timeout: true, unreached: true });
    expect(uptime).toHaveBeenCalledOnce();
  });
});

describe('the check of a tailscaled', () => {
  it('a tailscaled that knows itself is in order', async () => {
    const { asked } = await telling(tailscaled(new Set(), 'Running', KEY));
    expect(await asked.check(bound())).toBe('');
  });

  it.each<[string, Say, (name: string) => string]>([
    [
      'is no tailscaled',
      reply('404 Not Found', ''),
      (name) => `tailscaled: ${name}: the server there is not tailscaled (404 Not Found)`,
    ],
    [
      'does not know itself',
      stating(told('200 OK', JSON.stringify({ BackendState: 'Running', Self: { PublicKey: KEY } }))),
      () => 'verifyClient for self nodekey: not found in the local tailscaled',
    ],
    ...Object.entries({
      nothing: undefined,
      null: null,
      'no key': {},
      'something before its key': { PublicKey: `x${KEY}` },
      'a line more than its key': { PublicKey: `${KEY}\n` },
      'a key that is none': { PublicKey: 'nodekey:x' },
    }).map(
      // Titles without keys, which are others in each run: a mutant is tried with the tests of another run.
      ([what, Self]): [string, Say, (name: string) => string] => [
        `says of itself ${what}`,
        stating(told('200 OK', JSON.stringify({ BackendState: 'Running', Self }))),
        (name) => `${name} does not say which node it is`,
      ],
    ),
  ])('a tailscaled that %s is reported', async (_what, say, reason) => {
    const { asked } = await telling(say);
    expect(await asked.check(bound())).toBe(reason(asked.name));
  });
});

describe('the app of macOS', () => {
  /** An app that says so, what asks it, and how often the app was looked for. */
  async function app(say: Say) {
    const daemon = await server(say);
    const openFiles = vi.fn(async () => `n/x.tailscale.ipn.macos/sameuserproof-${daemon.port}-token\n`);
    const asked = asking(socketPath(), { app: new MacApp({ directory: '/nowhere', openFiles }) });
    return { daemon, asked, openFiles };
  }

  it('an app that answers is not looked for again', async () => {
    const { asked, openFiles } = await app(KNOWN);
    for (let time = 0; time < 2; time++) expect(await asked.ask(question, bound())).toEqual({ kind: 'allowed' });
    expect(openFiles).toHaveBeenCalledOnce();
  });

  it.each(['401 Unauthorized', '403 Forbidden'])('an app that answers %s is looked for again', async (status) => {
    const { asked, openFiles } = await app(told(status, ''));
    for (let time = 0; time < 2; time++) await asked.ask(question, bound());
    expect(openFiles).toHaveBeenCalledTimes(2);
  });

  it('an app that does not answer a client in time is not looked for again', async () => {
    const abort = new AbortController();
    const { asked, daemon, openFiles } = await app(() => abort.abort());
    expect(await asked.ask(question, abort.signal)).toMatchObject({ timeout: true });
    daemon.say = KNOWN;
    expect(await asked.ask(question, bound())).toEqual({ kind: 'allowed' });
    expect(openFiles).toHaveBeenCalledOnce();
  });
});
