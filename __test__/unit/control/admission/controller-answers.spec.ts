/** What an admission controller is asked, and what its answers mean. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { type Answer, denied, failed } from '../../../../src/control/admission/verifier.js';
import { formatNodeKey } from '../../../../src/protocol/key.js';
import { ALLOW, bytes, DENY, hangUp, reply, type Say, silence } from '../../../helpers/verifier.js';
import { CONTROLLER_ANSWERS } from '../../../helpers/verifier-answers.js';
import { turn } from '../../../helpers/wait.js';
import { bound, controller, question, server } from './controllers.js';

const ALLOWED = { kind: 'allowed' };

/** The word of `CONTROLLER_ANSWERS` for an answer. */
function fateOf(answer: Answer): string {
  if (answer.kind === 'allowed') return 'let in';
  return answer.kind === 'failed' && answer.unreached ? 'unreached' : 'refused';
}

const redirect = (location: string, status = '307 Temporary Redirect') => reply(status, '', { Location: location });
const unreached = (reason: string) => failed(`it cannot be asked: ${reason}`, { unreached: true });
const STRANGE = 'its answer is not JSON that says whether to allow';

describe('the answers of a controller', () => {
  it('the answers of a controller mean what derper makes of them', async () => {
    const asked = await server(ALLOW);
    const made = controller(asked.url);
    const found: Record<string, string> = {};
    const wanted: Record<string, string> = {};
    for (const { name, say, fate } of CONTROLLER_ANSWERS) {
      asked.say = say;
      found[name] = fateOf(await made.ask(question, bound()));
      wanted[name] = fate;
    }
    expect(found).toEqual(wanted);
  });

  it.each<[string, Say, Answer]>([
    ['403', reply('403 Forbidden', '{"Allow":true}'), denied('403 Forbidden')],
    ['500', reply('500 Internal Server Error', '{"Allow":true}'), failed('500 Internal Server Error')],
    ['no', DENY, denied('not allowed')],
    ['null', reply('200 OK', 'null'), denied('not allowed')],
    ['text', reply('200 OK', 'yes'), failed(STRANGE)],
    [
      '4096 bytes of more',
      bytes(`HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n${'x'.repeat(4096)}`),
      failed(STRANGE),
    ],
    ['half', bytes('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"Allow":', true), failed('its answer broke off')],
    ['a redirect without a place', reply('302 Found'), failed('302 Found')],
    ['a redirect to FTP', redirect('ftp://127.0.0.1/x'), unreached('a redirect leads to ftp:')],
    ['a redirect to no HTTP', redirect('xhttp://127.0.0.1/x'), unreached('a redirect leads to xhttp:')],
    ['a redirect to nowhere', redirect('http://[::1'), unreached('a redirect leads to an invalid URL')],
    ['redirects without an end', redirect('/verify'), unreached('10 redirects are too many')],
    [
      'another protocol',
      bytes('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n'),
      unreached('the answer switches the protocol'),
    ],
    ['nothing', hangUp, unreached('socket hang up')],
  ])('a controller that answers %s is reported with the reason', async (_what, say, answer) => {
    expect(await controller((await server(say)).url).ask(question, bound())).toEqual(answer);
  });

  it('a place in an answer that is no redirect leads nowhere', async () => {
    const asked = await server(reply('200 OK', '{"Allow":true}', { Location: '/elsewhere' }));
    expect(await controller(asked.url).ask(question, bound())).toEqual(ALLOWED);
    expect(asked.asked).toHaveLength(1);
  });

  it('a controller that does not answer in time is reported so', async () => {
    const abort = new AbortController();
    const asked = await server(() => abort.abort());
    const late = failed('no answer in time', { timeout: true, unreached: true });
    expect(await controller(asked.url).ask(question, abort.signal)).toEqual(late);
  });

  it('a controller that stops within its answer is reported so', async () => {
    const abort = new AbortController();
    const asked = await server((_asked, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"Allow":tr', () => {
        void turn(10).then(() => abort.abort());
      });
    });
    const late = failed('no whole answer in time', { timeout: true });
    expect(await controller(asked.url).ask(question, abort.signal)).toEqual(late);
  });
});

describe('the questions to a controller', () => {
  it('a controller is asked about the key and the address, without a content type', async () => {
    const asked = await server(ALLOW);
    expect(await controller(`${asked.url}?tailnet=x`).ask(question, bound())).toEqual(ALLOWED);
    const body = `{"NodePublic":"${formatNodeKey(question.key)}","Source":"192.0.2.1"}`;
    expect(asked.asked).toEqual([
      {
        ...{ method: 'POST', target: '/verify?tailnet=x', body },
        headers: { host: `127.0.0.1:${asked.port}`, 'content-length': `${body.length}`, connection: 'keep-alive' },
      },
    ]);
  });

  it.each([
    ['me:p%40ss', 'me:p@ss'],
    ['me', 'me:'],
    [':secret', ':secret'],
  ])('a controller gets the user of its URL, %s, and its name does not have it', async (user, sent) => {
    const asked = await server(ALLOW);
    const made = controller(`http://${user}@127.0.0.1:${asked.port}/secret`);
    expect(made.name).toBe(`http://127.0.0.1:${asked.port}`);
    expect(await made.ask(question, bound())).toEqual(ALLOWED);
    expect(asked.asked[0]?.headers.authorization).toBe(`Basic ${Buffer.from(sent).toString('base64')}`);
  });

  it('a redirect of an old kind is followed by GET, without a body', async () => {
    const asked = await server((one, socket) =>
      (one.target === '/verify' ? redirect('/other', '301 Moved Permanently') : ALLOW)(one, socket),
    );
    const made = controller(asked.url);
    for (let time = 0; time < 2; time++) expect(await made.ask(question, bound())).toEqual(ALLOWED);
    expect(asked.asked.map(({ method, target }) => `${method} ${target}`)).toEqual([
      ...['POST /verify', 'GET /other'],
      ...['POST /verify', 'GET /other'],
    ]);
    expect(asked.asked[1]?.headers).not.toHaveProperty('content-length');
  });

  it('nine redirects are followed, and no tenth', async () => {
    let most = 9;
    const asked = await server((one, socket) => (asked.asked.length <= most ? redirect('/next') : ALLOW)(one, socket));
    const made = controller(asked.url);
    expect(await made.ask(question, bound())).toEqual(ALLOWED);
    most = 20;
    expect(await made.ask(question, bound())).toEqual(unreached('10 redirects are too many'));
    expect(asked.asked).toHaveLength(20);
  });
});

describe('the connections to a controller', () => {
  it('a connection to the controller is kept for the next question, and one to another origin is not', async () => {
    const other = await server(ALLOW);
    const own = await server((one, socket) => (one.target === '/verify' ? redirect(other.url) : ALLOW)(one, socket));
    const made = controller(own.url);
    for (let time = 0; time < 2; time++) expect(await made.ask(question, bound())).toEqual(ALLOWED);
    expect([own.connections, other.connections]).toEqual([1, 2]);
    expect(other.asked[0]?.headers.connection).toBe('close');
  });

  it('a connection is closed with the controller, and where an answer goes on after it is decided', async () => {
    const sockets: Socket[] = [];
    const asked = await server((one, socket) => {
      sockets.push(socket);
      return ALLOW(one, socket);
    });
    const made = controller(asked.url);
    expect(await made.ask(question, bound())).toEqual(ALLOWED);
    made.close();
    await once(sockets[0] as Socket, 'close', { signal: bound() });
    asked.say = (_one, socket) => {
      sockets.push(socket);
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{"Allow":true}');
    };
    expect(await controller(asked.url).ask(question, bound())).toEqual(ALLOWED);
    await once(sockets[1] as Socket, 'close', { signal: bound() });
  });

  it('a question that fails on a new connection is asked once', async () => {
    const asked = await server(hangUp);
    await controller(asked.url).ask(question, bound());
    expect(asked.asked).toHaveLength(1);
  });

  it('a question that is given up on a kept connection is not asked again', async () => {
    const abort = new AbortController();
    const asked = await server(ALLOW);
    const made = controller(asked.url);
    expect(await made.ask(question, bound())).toEqual(ALLOWED);
    asked.say = (one, socket) => {
      abort.abort();
      return silence(one, socket);
    };
    const late = failed('no answer in time', { timeout: true, unreached: true });
    expect(await made.ask(question, abort.signal)).toEqual(late);
    asked.say = ALLOW;
    expect(await made.ask(question, bound())).toEqual(ALLOWED);
    expect(asked.connections).toBe(2);
  });
});
