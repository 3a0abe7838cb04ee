/** Everything that an admission controller, or a tailscaled, may answer, and what derper makes of each. */
import { ALLOW, bytes, DENY, hangUp, reply, type Say } from './verifier.js';

/** What becomes of the client. `unreached` is whatever is done where a verifier cannot be reached. */
export type Fate = 'let in' | 'refused' | 'unreached';

export interface AnswerCase {
  readonly name: string;
  readonly say: Say;
  readonly fate: Fate;
}

const one = (name: string, fate: Fate, say: Say): AnswerCase => ({ name, say, fate });
const json = (name: string, fate: Fate, body: string) => one(name, fate, reply('200 OK', body));

/** Leads to `/allow`, which allows whoever asks with POST, and refuses others. */
function redirect(status: string, location = '/allow'): Say {
  return (asked, socket) => {
    if (asked.target !== '/allow') return reply(status, '', { Location: location })(asked, socket);
    return (asked.method === 'POST' && asked.body !== '' ? ALLOW : DENY)(asked, socket);
  };
}

export const CONTROLLER_ANSWERS: readonly AnswerCase[] = [
  json('allowed', 'let in', '{"Allow":true}'),
  json('not allowed', 'refused', '{"Allow":false}'),
  json('allowed in lower case', 'let in', '{"allow":true}'),
  json('allowed in other letters, among other members', 'let in', '{"a":[{"b":"}"}],"ALLOW":true,"c":null}'),
  json('the last of two members, allowed', 'let in', '{"Allow":false,"allow":true}'),
  json('the last of two members, not allowed', 'refused', '{"Allow":true,"allow":false}'),
  json('allowed, and null after it', 'let in', '{"Allow":true,"Allow":null}'),
  json('no member', 'refused', '{}'),
  json('null', 'refused', 'null'),
  json('an array', 'refused', '[]'),
  json('true alone', 'refused', 'true'),
  json('text', 'refused', '{"Allow":"true"}'),
  json('a number', 'refused', '{"Allow":1}'),
  json('text and then true', 'refused', '{"Allow":"x","Allow":true}'),
  json('no JSON', 'refused', 'yes'),
  json('half of it', 'refused', '{"Allow":true'),
  json('nothing', 'refused', ''),
  json('blanks before it', 'let in', ' \r\n\t{"Allow":true}'),
  json('a byte order mark before it', 'refused', '\ufeff{"Allow":true}'),
  json('more behind it', 'let in', '{"Allow":true} and more'),
  json('another value behind it', 'let in', '{"Allow":true}{"Allow":false}'),
  json('a comma at its end', 'refused', '{"Allow":true,}'),
  json('allowed within 4096 bytes', 'let in', `{"Allow":true,"pad":"${'x'.repeat(4096 - 23)}"}`),
  json('beyond 4096 bytes', 'refused', `{"Allow":true,"pad":"${'x'.repeat(4096 - 22)}"}`),
  json('allowed, with much behind it', 'let in', `{"Allow":true}${' '.repeat(100_000)}`),
  one('as text', 'let in', reply('200 OK', '{"Allow":true}', { 'Content-Type': 'text/plain' })),
  one(
    'in chunks',
    'let in',
    bytes('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"Allow\r\n7\r\n":true}\r\n0\r\n\r\n'),
  ),
  one(
    'until the end of the connection',
    'let in',
    bytes('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"Allow":true}', true),
  ),
  one('by HTTP/1.0', 'let in', bytes('HTTP/1.0 200 OK\r\n\r\n{"Allow":true}', true)),
  one(
    'after 100 Continue',
    'let in',
    bytes('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"Allow":true}'),
  ),
  one(
    'whole, though more is announced',
    'let in',
    bytes('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"Allow":true}'),
  ),
  one('cut off', 'refused', bytes('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"Allow":', true)),
  ...['201 Created', '204 No Content', '400 Bad Request', '401 Unauthorized', '403 Forbidden', '404 Not Found'].map(
    (status) => one(status, 'refused', reply(status, status.startsWith('204') ? '' : '{"Allow":true}')),
  ),
  ...['500 Internal Server Error', '502 Bad Gateway', '503 Service Unavailable'].map((status) =>
    one(status, 'refused', reply(status, '{"Allow":true}')),
  ),
  ...['301 Moved Permanently', '302 Found', '303 See Other'].map((status) =>
    one(`${status}, which makes it a GET`, 'refused', redirect(status)),
  ),
  ...['307 Temporary Redirect', '308 Permanent Redirect'].map((status) => one(status, 'let in', redirect(status))),
  one('a redirect without a place', 'refused', reply('302 Found')),
  one('a redirect to another protocol', 'unreached', redirect('307 Temporary Redirect', 'ftp://127.0.0.1/x')),
  one('a redirect to nowhere', 'unreached', redirect('307 Temporary Redirect', 'http://[::1')),
  one('redirects without an end', 'unreached', reply('307 Temporary Redirect', '', { Location: '/verify' })),
  one('304', 'refused', bytes('HTTP/1.1 304 Not Modified\r\n\r\n')),
  one('no answer', 'unreached', hangUp),
  one('no HTTP', 'unreached', bytes('SSH-2.0-OpenSSH_9.9\r\n', true)),
  one('half a head', 'unreached', bytes('HTTP/1.1 200 OK\r\nContent-Le', true)),
];

const told = (status: string, body: string) => reply(status, body, { 'Tailscale-Version': '1.104.5' });

export const TAILSCALED_ANSWERS: readonly AnswerCase[] = [
  one('a node', 'let in', told('200 OK', '{"Node":{"ID":1},"UserProfile":{}}')),
  one('an empty object', 'let in', told('200 OK', '{}')),
  one('null', 'let in', told('200 OK', 'null')),
  one('an array', 'refused', told('200 OK', '[]')),
  one('no JSON', 'refused', told('200 OK', 'yes')),
  one('nothing', 'refused', told('200 OK', '')),
  one('half of it', 'refused', told('200 OK', '{"Node":')),
  one('more behind it', 'refused', told('200 OK', '{} x')),
  one('cut off', 'refused', bytes('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}', true)),
  one('not found', 'refused', told('404 Not Found', 'no match for IP:port\n')),
  one('access denied', 'refused', told('403 Forbidden', 'whois access denied\n')),
  one('too old', 'refused', told('400 Bad Request', "invalid 'addr' parameter\n")),
  one('201', 'refused', told('201 Created', '{}')),
  one('500', 'refused', told('500 Internal Server Error', 'JSON encoding error\n')),
  one('a redirect without a place', 'refused', told('302 Found', '')),
  one('no answer', 'refused', hangUp),
  one('no HTTP', 'refused', bytes('SSH-2.0-OpenSSH_9.9\r\n', true)),
];
