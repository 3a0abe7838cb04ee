/** What browsers, monitors and scanners ask, one request for each case. */
import type { Face } from './faces.ts';
import type { Case } from './transcript.ts';

type Headers = Readonly<Record<string, string>>;

/** A request with a Host header; one that is given replaces it, an empty one removes it. */
export function requestText(line: string, headers: Headers = {}, body = ''): string {
  const all: Headers = { Host: 'derp.test', ...(body !== '' && { 'Content-Length': String(body.length) }), ...headers };
  const fields = Object.entries(all).filter(([, value]) => value !== '');
  return `${[`${line}`, ...fields.map(([name, value]) => `${name}: ${value}`)].join('\r\n')}\r\n\r\n${body}`;
}

function asked(face: Face, line: string, headers: Headers = {}, body = '', about = ''): Case {
  const name = `${face}: ${line}${about === '' ? '' : ` (${about})`}`;
  const request = requestText(`${line} HTTP/1.1`, headers, body);
  return { name, face, play: (script) => script.ask(request) };
}

const MAIN: readonly Face[] = ['tls', 'plain'];
const onBoth = (line: string, ...more: [headers?: Headers, body?: string, about?: string]) =>
  MAIN.map((face) => asked(face, line, ...more));

const FAR = { 'X-Forwarded-For': '192.0.2.1' };
const CHALLENGES: readonly (readonly [about: string, challenge: string])[] = [
  ['a host', 'ts_derp.test'],
  ['every character', 'A-z_0.9:x'],
  ['64 bytes', 'x'.repeat(64)],
  ['65 bytes', 'x'.repeat(65)],
  ['a blank', 'a b'],
  ['a slash', 'a/b'],
];

/** Not clean, or not what they seem: what Go's multiplexer makes of them. */
const TARGETS = [
  ...['//', '//derp', '/derp//probe', '/./derp', '/a/../derp', '/a/..', '/..', '/derp/', '/derp/x', '/derp/probe/'],
  ...['/derp/../debug', '/debug', '/debug?x=1', '/debug//vars', '/DERP', '/%64erp', '/derp%2Fprobe', '/%2e%2e/derp'],
  ...[
    '/a%20b/../c',
    '/a|b//c',
    '/a%20b//c',
    "/a'b//c",
    '/a%2Fb//c',
    '/a%2fb|//c',
    '/derp//../debug/vars',
    '/a//b?q=/x/../y',
    '/generate_204/',
    '/robots.txt/',
    '/?',
    '/index.html',
  ],
  ...['http://other.test/derp/probe', 'http://other.test//derp', '/%zz', 'derp', '/derp?x', '/derp;x'],
];

const ALL: readonly Case[] = [
  ...MAIN.flatMap((face) => ['GET', 'HEAD', 'POST'].map((method) => asked(face, `${method} /`))),
  ...onBoth('GET /', FAR, '', 'from afar'),
  ...(['blank', 'redirect', 'disabled'] as const).flatMap((face) => [
    asked(face, 'GET /'),
    asked(face, 'HEAD /'),
    asked(face, 'POST /', {}, 'x'),
    asked(face, 'GET /any/where'),
    asked(face, 'GET /derp'),
    asked(face, 'GET /derp/probe'),
    asked(face, 'GET /robots.txt'),
  ]),
  asked('disabled', 'GET /derp', { Connection: 'Upgrade', Upgrade: 'DERP' }, '', 'upgrade'),
  asked('disabled', 'GET /derp', { Connection: 'Upgrade', Upgrade: 'DERP', 'Derp-Fast-Start': '1' }, '', 'fast start'),

  ...['GET', 'HEAD', 'POST', 'OPTIONS', 'DELETE', 'PATCH', 'BOGUS'].flatMap((method) => [
    ...onBoth(`${method} /derp/probe`),
    asked('plain', `${method} /derp/latency-check`),
    asked('plain', `${method} /generate_204`),
    asked('plain', `${method} /robots.txt`),
    asked('plain', `${method} /derp`),
    asked('plain', `${method} /bootstrap-dns`),
    asked('plain', `${method} /debug/`, FAR),
    asked('port80', `${method} /`, FAR),
    asked('port80', `${method} /generate_204`),
    asked('port80', `${method} /debug`),
  ]),
  ...CHALLENGES.flatMap(([about, challenge]) =>
    [...MAIN, 'port80' as const].map((face) =>
      asked(face, 'GET /generate_204?t=1', { 'X-Tailscale-Challenge': challenge }, '', about),
    ),
  ),
  ...onBoth('GET /derp'),
  ...onBoth('POST /derp', {}, 'body'),
  ...onBoth('GET /robots.txt'),
  ...TARGETS.map((target) => asked('plain', `GET ${target}`)),
  ...TARGETS.map((target) => asked('port80', `GET ${target}`, FAR)),
  asked('plain', 'POST //derp', {}, 'x'),
  asked('plain', 'HEAD //derp'),

  // The names at `plain` are resolved in the background; what is not there yet is asked for again.
  asked('tls', 'GET /bootstrap-dns', {}, '', 'no names'),
  asked('tls', 'GET /bootstrap-dns?q=example.com', {}, '', 'no names'),
  ...['', '?q=', '?q=localhost', '?q=hidden.invalid', '?q=other.invalid', '?q=%zz', '?x=1&q=localhost;y=2'].map(
    (query): Case => ({
      name: `plain: GET /bootstrap-dns${query}, resolved`,
      face: 'plain',
      async play(script) {
        await resolved(script);
        await script.ask(requestText(`GET /bootstrap-dns${query} HTTP/1.1`));
      },
    }),
  ),

  ...['/debug/', '/debug/nowhere', '/debug/check', '/debug/check/', '/debug/vars/x'].flatMap((path) => [
    asked('plain', `GET ${path}`),
    asked('plain', `GET ${path}`, FAR, '', 'from afar'),
    asked('plain', `GET ${path}?debugkey=open-sesame`, FAR, '', 'from afar, with the key'),
    asked('plain', `POST ${path}?debugkey=open-sesame`, FAR, '', 'from afar, with the key'),
    asked('plain', `GET ${path}?debugkey=wrong`, FAR, '', 'from afar, with another key'),
    asked('port80', `GET ${path}`),
    asked('port80', `GET ${path}`, FAR, '', 'from afar'),
  ]),
  asked('tls', 'GET /debug/check'),
  ...['127.0.0.1', '[::1]:443', 'localhost'].map((Host) => asked('plain', 'GET /debug/check', { Host }, '', Host)),
  ...(['tls', 'plain'] as const).map((face) =>
    asked(face, 'GET /debug/check', { Host: 'evil.test' }, '', 'a name that is not ours'),
  ),
  ...['X-Real-IP', 'Forwarded', 'X-Forwarded-Host'].map((name) =>
    asked('plain', 'GET /debug/check', { [name]: '192.0.2.1' }, '', `from a proxy that says ${name}`),
  ),
  asked('tls', 'GET /debug/vars', FAR, '', 'from afar'),
  asked('tls', 'GET /debug/varz', FAR, '', 'from afar'),

  ...['GET /', 'GET /derp', 'GET /a/b?c=d&e', 'HEAD /x', 'GET /robots.txt', 'GET /bootstrap-dns'].flatMap((line) => [
    asked('port80', line, FAR),
    asked('port80', line),
  ]),
  ...onBoth('GET /x', { Host: '[::1]:80' }, '', 'an address'),
  ...onBoth('GET /x', { Host: "!$&'()*+,;=~_%41" }, '', 'an odd host'),
  asked('port80', 'GET /x', { Host: 'other.test:8080', ...FAR }, '', 'another host'),
  {
    name: 'port80: GET /x (its own port)',
    face: 'port80',
    async play(script) {
      const { port } = await script.faces.target('port80');
      await script.ask(requestText('GET /x HTTP/1.1', { Host: `derp.test:${port}`, ...FAR }));
    },
  },
  asked('port80', 'GET /x?<a>&"b"', FAR, '', 'characters of HTML'),
  asked('port80', 'GET /derp', { Connection: 'Upgrade', Upgrade: 'DERP', ...FAR }, '', 'upgrade'),
  asked('port80', 'GET /.well-known/acme-challenge/x', FAR),

  ...(['tls', 'plain', 'port80'] as const).flatMap((face) => [
    asked(face, 'CONNECT derp.test:443', FAR),
    asked(face, 'CONNECT /derp', FAR),
    asked(face, 'CONNECT controlplane.tailscale.com:443', { Host: 'controlplane.tailscale.com:443', ...FAR }),
    asked(face, 'OPTIONS *'),
    asked(face, 'GET *'),
    asked(face, 'GET /', { Expect: 'a wonder' }, '', 'an expectation'),
    asked(face, 'POST /generate_204', { Expect: '100-continue' }, 'x', 'an announcement'),
    asked(face, 'GET /', { Host: '' }, '', 'no host'),
    asked(face, 'GET /', { host: 'other.test' }, '', 'two hosts'),
    ...['a b', 'a/b', 'a<b>', '"a"', 'a@b', 'a\\b', '{a}'].map((host) =>
      asked(face, 'GET /x', { Host: host, ...FAR }, '', `host ${host}`),
    ),
    asked(face, 'GET /', { 'X Bad': 'x' }, '', 'a blank in a name'),
    asked(face, 'GET /robots.txt', { 'Transfer-Encoding': 'bogus' }, '', 'an unknown coding'),
    asked(face, 'GET /generate_204', { Connection: 'close' }, '', 'to be closed'),
    asked(face, 'GET /robots.txt', { Connection: 'close' }, 'nonsense', 'to be closed, with more behind it'),
  ]),
];

/** As many as may wait for their answers, and more. */
const PIPELINED: readonly Case[] = [2, 32, 40].flatMap((count) =>
  MAIN.map((face) => ({
    name: `${face}: ${count} requests at once`,
    face,
    async play(script) {
      const wire = await script.open();
      wire.write(requestText('GET /derp/probe HTTP/1.1').repeat(count));
      for (let answered = 0; answered < count; answered++) {
        if ((await script.answer(wire)) === undefined) return;
      }
      await script.kept(wire);
    },
  })),
);

/** Each once, though several of the lists above may come to the same. */
export const HTTP_CASES: readonly Case[] = [...new Map([...ALL, ...PIPELINED].map((one) => [one.name, one])).values()];

/** Until the published name is there. */
async function resolved(script: Parameters<Case['play']>[0]): Promise<void> {
  for (;;) {
    const wire = await script.open();
    wire.write(requestText('GET /bootstrap-dns HTTP/1.1'));
    const text = (await wire.rest()).toString('latin1');
    if (text.includes('127.0.0.1')) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
