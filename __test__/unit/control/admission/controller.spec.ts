/** What an admission controller is sent, and for whom its answers count. */
import { expect, it, onTestFinished } from 'vitest';
import { Controller } from '../../../../src/control/admission/controller.js';
import { Desk } from '../../../../src/control/admission/desk.js';
import { generateKeyPair } from '../../../../src/protocol/key.js';
import { ALLOW, reply, type Say, TestVerifier } from '../../../helpers/verifier.js';

const { publicKey: key } = generateKeyPair();
const { signal } = new AbortController();

async function server(say: Say): Promise<TestVerifier> {
  const made = await TestVerifier.listen(say);
  onTestFinished(() => made.close());
  return made;
}

function controller(url: string): Controller {
  const made = new Controller({ url: new URL(url), headers: () => ({ authorization: 'Bearer secret' }), env: {} });
  onTestFinished(() => made.close());
  return made;
}

it('a redirect takes the headers along on its own origin, and to no other', async () => {
  const other = await server(ALLOW);
  const own = await server((asked, socket) => {
    const targets: Record<string, string> = { '/verify': '/again', '/again': other.url };
    return reply('307 Temporary Redirect', '', { Location: targets[asked.target] ?? '' })(asked, socket);
  });
  expect(await controller(own.url).ask({ key, address: '192.0.2.1' }, signal)).toEqual({ kind: 'allowed' });
  expect(own.asked.map(({ headers }) => headers.authorization)).toEqual(['Bearer secret', 'Bearer secret']);
  expect(other.asked.map(({ body, headers }) => [body, headers.authorization])).toEqual([
    [own.asked[0]?.body, undefined],
  ]);
});

it('an answer of a controller counts for one address', async () => {
  const asked = await server(ALLOW);
  const cache = { allow: 1000, deny: 1000, grace: 0 };
  const common = { timeout: 0, failOpen: false, cache, atOnce: 64, now: () => 0, log: () => {} };
  const desk = new Desk({ name: '', verifier: controller(asked.url), ...common });
  for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.1']) {
    await desk.ask({ key, address }, { signal, anew: false });
  }
  expect(asked.asked.map(({ body }) => JSON.parse(body).Source)).toEqual(['192.0.2.1', '192.0.2.2']);
});
