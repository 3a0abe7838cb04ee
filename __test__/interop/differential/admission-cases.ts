/** Logins at relays that ask about them: who is let in, and what verifiers are asked. */
import { formatNodeKey, generateKeyPair } from '../../../src/protocol/key.js';
import type { ClientOptions } from '../../helpers/client.js';
import {
  ALLOW,
  type Asked,
  DENY,
  hangUp,
  type Say,
  silence,
  type TestVerifier,
  tailscaled,
} from '../../helpers/verifier.js';
import { CONTROLLER_ANSWERS, TAILSCALED_ANSWERS } from '../../helpers/verifier-answers.js';
import type { Case, Script } from './transcript.ts';
import type { VerifiedFace } from './verifiers.ts';

/** As `makeWorkspace` writes it. */
const MESH_KEY = '5eed'.repeat(16);

/** The fields that matter to those that are asked. */
const FIELDS = [
  'host',
  'content-type',
  'content-length',
  'tailscale-cap',
  'authorization',
  'proxy-authorization',
  'origin',
];

interface Verified {
  readonly controller: TestVerifier;
  readonly local: TestVerifier;
}

function verified(face: VerifiedFace, about: string, play: (script: Script, asked: Verified) => Promise<void>): Case {
  return {
    name: `${face}: ${about}`,
    face,
    async play(script) {
      const { verifiers } = script.faces;
      const asked = { controller: await verifiers.controller(face), local: await verifiers.local(face) };
      // As many digits on both sides: they are part of lengths.
      script.called(`127.0.0.1:${asked.controller.port}`, '<controller>');
      await play(script, asked);
    },
  };
}

/** Logs in, and writes down whether that succeeds and what was asked meanwhile. */
async function login(script: Script, { controller, local }: Verified, options: ClientOptions = {}): Promise<void> {
  const before = [controller.asked.length, local.asked.length] as const;
  const client = await script.dial('A', options);
  client.wire.write(client.head, client.clientInfo);
  client.readFrames();
  script.frame(client, await client.next());
  const answer = await client.next(ENOUGH).catch(() => undefined);
  if (answer) script.frame(client, answer);
  else script.note('refused');
  await client.close();
  for (const asked of controller.asked.slice(before[0])) noteAsked(script, 'controller', asked);
  for (const asked of local.asked.slice(before[1])) noteAsked(script, 'tailscaled', asked);
}

/** Longer than derper waits for a controller. */
const ENOUGH = 12_000;

function noteAsked(script: Script, who: string, { method, target, headers, body }: Asked): void {
  script.note(`${who} is asked ${method} ${target}`);
  for (const name of FIELDS) if (headers[name] !== undefined) script.note(`  ${name}: ${headers[name]}`);
  if (body !== '') script.note(`  ${body}`);
}

function controllerCase(face: VerifiedFace, about: string, say: Say): Case {
  return verified(face, about, async (script, asked) => {
    asked.controller.say = say;
    await login(script, asked);
  });
}

const known = generateKeyPair();
const nodes = new Set([formatNodeKey(known.publicKey)]);

export const ADMISSION_CASES: readonly Case[] = [
  ...CONTROLLER_ANSWERS.flatMap(({ name, say }) => [
    controllerCase('open', `a controller answers: ${name}`, say),
    controllerCase('closed', `a controller answers: ${name}`, say),
  ]),
  controllerCase('open', 'a controller never answers', silence),
  controllerCase('proxied', 'a proxy is asked for the controller', ALLOW),
  controllerCase('proxied', 'a proxy does not answer', hangUp),
  ...(['socks', 'socks-address'] as const).map((face) =>
    verified(face, 'a proxy of SOCKS is asked for the controller', async (script, asked) => {
      asked.controller.say = ALLOW;
      await login(script, asked);
      asked.controller.say = DENY;
      await login(script, asked);
      for (const target of script.faces.verifiers.targets(face)) script.note(`the proxy is asked for ${target}`);
    }),
  ),
  verified('open', 'a connection that is kept ends without an answer', async (script, asked) => {
    asked.controller.say = ALLOW;
    await login(script, asked);
    asked.controller.say = hangUp;
    await login(script, asked);
  }),
  verified('open', 'one key twice, which is asked about each time', async (script, asked) => {
    for (const say of [ALLOW, DENY, ALLOW]) {
      asked.controller.say = say;
      await login(script, asked, { keys: known });
    }
  }),
  verified('open', 'mesh peers are exempt', async (script, asked) => {
    asked.controller.say = DENY;
    await login(script, asked, { meshKey: MESH_KEY });
    await login(script, asked, { meshKey: 'ab'.repeat(32) });
  }),
  ...TAILSCALED_ANSWERS.map(({ name, say }) =>
    verified('local', `tailscaled answers: ${name}`, async (script, asked) => {
      asked.local.say = say;
      await login(script, asked);
    }),
  ),
  verified('local', 'a node, and a stranger', async (script, asked) => {
    asked.local.say = tailscaled(nodes);
    await login(script, asked, { keys: known });
    await login(script, asked);
  }),
  verified('local', '/debug/check, of a node that knows itself', async (script, asked) => {
    const self = formatNodeKey(known.publicKey);
    asked.local.say = tailscaled(new Set(), 'Running', self);
    await script.ask('GET /debug/check HTTP/1.1\r\nHost: derp.test\r\n\r\n');
    asked.local.say = tailscaled(new Set(), 'Running', `nodekey:${'00'.repeat(31)}01`);
  }),
  ...(
    [
      ['both let it in', true, ALLOW],
      ['the controller does not', true, DENY],
      ['tailscaled does not, and the controller is not asked', false, ALLOW],
    ] as const
  ).map(([about, isNode, say]) =>
    verified('both', about, async (script, asked) => {
      asked.local.say = tailscaled(nodes);
      asked.controller.say = say;
      await login(script, asked, isNode ? { keys: known } : {});
    }),
  ),
];
