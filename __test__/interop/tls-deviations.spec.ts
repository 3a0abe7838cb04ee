/** Each TLS client that `deviations.ts` lists is served by derper, and refused by both of our planes. */
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TLS_DEVIATIONS, type TlsDeviation } from './deviations.ts';
import { Faces, type Side } from './differential/faces.ts';
import { makeWorkspace, SERVER_NAME, type Workspace } from './scenarios.ts';

let workspace: Workspace;
const sides = new Map<Side, Faces>();

beforeAll(async () => {
  workspace = await makeWorkspace(SERVER_NAME);
  for (const side of ['derper', 'js', 'native'] as const) sides.set(side, new Faces(side, workspace));
});

afterAll(async () => {
  await Promise.all([...sides.values()].map((faces) => faces.stop()));
  workspace?.remove();
});

async function shakesHands(side: Side, options: TlsDeviation['options']): Promise<boolean> {
  const { host, port } = await (sides.get(side) as Faces).target('tls');
  const socket = connect({ host, port, servername: SERVER_NAME, rejectUnauthorized: false, ...options });
  try {
    return await new Promise<boolean>((resolve) => {
      socket.once('secureConnect', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('close', () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}

describe.each(TLS_DEVIATIONS)('a client that $client', ({ options }) => {
  it.each([
    ['derper', true],
    ['js', false],
    ['native', false],
  ] as const)('a handshake with %s succeeds: %s', async (side, served) => {
    expect(await shakesHands(side, {})).toBe(true);
    expect(await shakesHands(side, options)).toBe(served);
  });
});
