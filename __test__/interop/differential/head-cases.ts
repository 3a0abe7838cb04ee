/** What comes where a request should, and what comes in the clear where TLS should. */
import { Wire } from '../../helpers/wire.js';
import type { Face } from './faces.ts';
import type { Case } from './transcript.ts';

/** derper looks at a line when it is whole; so each of these is. */
const NO_HEADS: readonly (readonly [what: string, bytes: string])[] = [
  ['a request without a version', 'GET /\r\n'],
  ['EHLO', 'EHLO mail.test\r\n'],
  ['the banner of SSH', 'SSH-2.0-OpenSSH_9.2p1\r\n'],
  ['a ClientHello with a line feed', '\x16\x03\x01\x02\n'],
  ['the PROXY protocol', 'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n'],
  ['an empty line', '\r\n'],
  ['an empty line before a request', '\r\nGET / HTTP/1.1\r\nHost: derp.test\r\n\r\n'],
  ['a version of two digits', 'GET / HTTP/1.12\r\n'],
  ['a version in lower case', 'GET / http/1.1\r\n'],
  ['a tab for a blank', 'GET\t/ HTTP/1.1\r\n'],
  ['two blanks', 'GET  / HTTP/1.1\r\n'],
  ['a control character in the target', 'GET /\x01 HTTP/1.1\r\n'],
  ['two carriage returns', 'GET / HTTP/1.1\r\r\n'],
  ['a header without a colon', 'GET / HTTP/1.1\r\nHost derp.test\r\n'],
  ['a request line that goes on', 'GET / HTTP/1.1\r\n Host: derp.test\r\n'],
];

const FACES: readonly Face[] = ['tls', 'plain', 'port80'];

const LINE_FEEDS = ['GET /generate_204', 'HEAD /generate_204', 'POST /generate_204', 'GET /nowhere'].flatMap((line) =>
  FACES.map(
    (face): Case => ({
      name: `${face}: ${line} (line feeds)`,
      face,
      play: (script) => script.ask(`${line} HTTP/1.1\nHost: derp.test\nX-Forwarded-For: 192.0.2.1\n\n`),
    }),
  ),
);

const SECOND: Case = {
  name: 'plain: 2 requests with line feeds',
  face: 'plain',
  async play(script) {
    const wire = await script.open();
    wire.write('GET /generate_204 HTTP/1.1\nHost: derp.test\n\n'.repeat(2));
    if ((await script.answer(wire)) === undefined) return;
    await script.answer(wire);
  },
};

const LATER_UPGRADE: Case = {
  name: 'plain: upgrade: derp, without Connection, in a later request',
  face: 'plain',
  async play(script) {
    await script.serverKey();
    const wire = await script.open();
    wire.write('GET /generate_204 HTTP/1.1\r\nHost: derp.test\r\n\r\n');
    await script.answer(wire);
    wire.write('GET /derp HTTP/1.1\r\nHost: derp.test\r\nUpgrade: DERP\r\n\r\n');
    await script.answer(wire);
    await wire.destroy();
  },
};

const UPGRADES = (['tls', 'plain'] as const).map(
  (face): Case => ({
    name: `${face}: upgrade: derp (line feeds)`,
    face,
    async play(script) {
      await script.serverKey();
      const wire = await script.open();
      wire.write('GET /derp HTTP/1.1\nHost: derp.test\nConnection: Upgrade\nUpgrade: DERP\n\n');
      await script.answer(wire);
      await wire.destroy();
    },
  }),
);

const IN_THE_CLEAR = [
  ...[
    'GET / HTTP/1.1\r\nHost: derp.test\r\n\r\n',
    'HEAD / HTTP/1.1\r\n\r\n',
    'POST / HTTP/1.1\r\n\r\n',
    'PUT /x',
    'OPTIONS *',
  ],
  ...['DELETE / HTTP/1.1\r\n\r\n', 'PATCH / HTTP/1.1\r\n\r\n', 'get / HTTP/1.1\r\n\r\n', 'GET x HTTP/1.1\r\n'],
].map(
  (request): Case => ({
    name: `tls: ${JSON.stringify(request)} in the clear`,
    face: 'tls',
    async play(script) {
      const { host, port } = await script.faces.target('tls');
      const wire = await Wire.open({ host, port });
      wire.write(request);
      const answer = (await wire.rest()).toString('latin1');
      // Alerts in the clear are not what this is about.
      script.note(answer.startsWith('HTTP') ? answer : 'no answer');
    },
  }),
);

export const HEAD_CASES: readonly Case[] = [
  ...NO_HEADS.flatMap(([what, bytes]) =>
    FACES.map(
      (face): Case => ({ name: `${face}: ${what}, for a request`, face, play: (script) => script.ask(bytes, 'GET') }),
    ),
  ),
  ...LINE_FEEDS,
  SECOND,
  LATER_UPGRADE,
  ...UPGRADES,
  ...IN_THE_CLEAR,
];
