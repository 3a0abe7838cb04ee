/** Requests for `/derp` that ask for an upgrade, in every form, and what comes right behind it. */
import type { Face } from './faces.ts';
import { requestText } from './http-cases.ts';
import type { Case, Script } from './transcript.ts';

type Headers = Readonly<Record<string, string>>;

const RAW: Headers = { Connection: 'Upgrade', Upgrade: 'DERP' };
const FAST: Headers = { ...RAW, 'Derp-Fast-Start': '1' };
const WEB: Headers = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Protocol': 'derp',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

/** 5 bytes of header, 8 of magic, 32 of key. */
const GREETING = 45;

function upgraded(about: string, headers: Headers, line = 'GET /derp HTTP/1.1'): readonly Case[] {
  return (['plain', 'tls'] as const).map((face: Face) => ({
    name: `${face}: upgrade: ${about}`,
    face,
    async play(script) {
      await script.serverKey();
      await offer(script, requestText(line, headers));
    },
  }));
}

async function offer(script: Script, request: string): Promise<void> {
  const wire = await script.open();
  wire.write(request);
  const begun = (await wire.take(5)).toString('latin1');
  if (!begun.startsWith('HTTP/')) {
    const rest = await wire.take(GREETING - begun.length);
    script.note(`at once ${Buffer.from(begun, 'latin1').toString('hex')}${rest.toString('hex')}`);
    return;
  }
  const status = await script.answer(wire, 'GET', begun);
  if (status !== 101) {
    await script.kept(wire);
  } else if (script.lines.some((line) => line === '< Upgrade: websocket')) {
    // The first two bytes say how much there is in the message, or in the reason to close.
    const head = await wire.take(2);
    script.note(`message ${head.toString('hex')}${(await wire.take(head[1] as number)).toString('hex')}`);
  } else {
    script.note(`greeting ${(await wire.take(GREETING)).toString('hex')}`);
  }
}

export const UPGRADE_CASES: readonly Case[] = [
  ...upgraded('raw', RAW),
  ...upgraded('fast start', FAST),
  ...upgraded('fast start, another value', { ...RAW, 'Derp-Fast-Start': 'true' }),
  ...upgraded('raw, lower case', { ...RAW, Upgrade: 'derp' }),
  ...upgraded('raw, mixed case', { ...RAW, Upgrade: 'dErP' }),
  ...upgraded('raw, one of a list', { ...RAW, Upgrade: 'derp, x' }),
  ...upgraded('raw, without Connection', { Upgrade: 'DERP' }),
  ...upgraded('raw, Connection: close', { ...RAW, Connection: 'close' }),
  ...upgraded('raw, by POST', RAW, 'POST /derp HTTP/1.1'),
  ...upgraded('raw, HTTP/1.0', RAW, 'GET /derp HTTP/1.0'),
  ...upgraded('raw, with a query', RAW, 'GET /derp?x=1 HTTP/1.1'),
  ...upgraded('raw, in other letters', RAW, 'GET /%64erp HTTP/1.1'),
  ...upgraded('raw, at /derp/', RAW, 'GET /derp/ HTTP/1.1'),
  ...upgraded('raw, at //derp', RAW, 'GET //derp HTTP/1.1'),
  ...upgraded('raw, at /derp/probe', RAW, 'GET /derp/probe HTTP/1.1'),
  ...upgraded('raw, at /', RAW, 'GET / HTTP/1.1'),
  ...upgraded('raw, not ideal', { ...RAW, 'Ideal-Node': '1a' }),
  ...upgraded('raw, without a host', { ...RAW, Host: '' }),
  ...upgraded('raw, without a host or Connection', { Upgrade: 'DERP', Host: '' }),
  ...upgraded('raw, host a/b', { ...RAW, Host: 'a/b' }),
  ...upgraded('raw, host a b', { ...RAW, Host: 'a b' }),
  ...upgraded('raw, two hosts', { ...RAW, host: 'other.test' }),
  ...upgraded('raw, HTTP/1.0 without a host', { ...RAW, Host: '' }, 'GET /derp HTTP/1.0'),
  ...[
    ...['0', '5', '-1', '+1', '0x1', '5, 5', '9223372036854775807', '9223372036854775808', '1 1'].map((length) => ({
      'Content-Length': length,
    })),
    { 'Content-Length': '5', 'content-length': '5' },
    { 'Content-Length': '5', 'content-length': '6' },
    { 'Transfer-Encoding': 'chunked', 'transfer-encoding': 'chunked' },
    ...['chunked', 'Chunked', 'gzip', 'gzip, chunked', 'chunked, gzip', 'identity'].map((coding) => ({
      'Transfer-Encoding': coding,
    })),
    { 'Transfer-Encoding': 'chunked', 'Content-Length': '5' },
    { 'Transfer-Encoding': 'chunked', 'Content-Length': 'x' },
  ].flatMap((body: Headers) => [
    ...upgraded(`raw, ${JSON.stringify(body)}`, { ...RAW, ...body }),
    ...upgraded(`raw, HTTP/1.0, ${JSON.stringify(body)}`, { ...RAW, ...body }, 'GET /derp HTTP/1.0'),
  ]),
  ...upgraded('websocket, a broken length', { ...WEB, 'Content-Length': 'x' }),
  ...upgraded('websocket, an unknown coding', { ...WEB, 'Transfer-Encoding': 'x' }),
  ...upgraded('websocket, an unknown coding and no key', { ...WEB, 'Sec-WebSocket-Key': '', 'Transfer-Encoding': 'x' }),
  ...upgraded('h2c', { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQAAP__' }),
  ...upgraded('nothing', { Connection: 'Upgrade', Upgrade: '' }),
  ...upgraded('WebSocket of old, which is raw', { Connection: 'Upgrade', Upgrade: 'WebSocket' }),
  ...upgraded('websocket with another protocol, which is raw', { ...WEB, 'Sec-WebSocket-Protocol': 'chat' }),
  ...upgraded('websocket', WEB),
  ...upgraded('websocket, fast start', { ...WEB, 'Derp-Fast-Start': '1' }),
  ...upgraded('websocket, one of two protocols', { ...WEB, 'Sec-WebSocket-Protocol': 'chat, derp' }),
  ...upgraded('websocket, from another origin', { ...WEB, Origin: 'https://other.test' }),
  ...upgraded('websocket, compression offered', { ...WEB, 'Sec-WebSocket-Extensions': 'permessage-deflate' }),
  ...upgraded('websocket, a protocol that has derp in its name', { ...WEB, 'Sec-WebSocket-Protocol': 'derpx' }),
  ...upgraded('websocket, another version', { ...WEB, 'Sec-WebSocket-Version': '8' }),
  ...upgraded('websocket, no version', { ...WEB, 'Sec-WebSocket-Version': '' }),
  ...upgraded('websocket, no key', { ...WEB, 'Sec-WebSocket-Key': '' }),
  ...upgraded('websocket, a short key', { ...WEB, 'Sec-WebSocket-Key': 'AAAA' }),
  ...upgraded('websocket, Connection: keep-alive', { ...WEB, Connection: 'keep-alive' }),
  ...upgraded('websocket, by POST', WEB, 'POST /derp HTTP/1.1'),
  ...upgraded('websocket, HTTP/1.0', WEB, 'GET /derp HTTP/1.0'),
];
