import { expect, it } from 'vitest';
import { Connection } from '../../../../src/control/directory/connection.js';
import { parseNatsServer } from '../../../../src/protocol/nats-server.js';
import { STRICT } from '../../../helpers/strict-barrier.js';

it('a connection that is stopped while it is made says nothing when that fails', async () => {
  const lines: string[] = [];
  const server = parseNatsServer('nats.internal');
  let fail: (error: Error) => void = () => {};
  const connection = new Connection({
    servers: server ? [server] : [],
    connect: () =>
      new Promise((_, reject) => {
        fail = reject;
      }),
    onUp: async () => {},
    onDown: () => {},
    onBeat: () => {},
    log: (_level, _facts, text) => lines.push(text),
    barrier: STRICT,
  });
  connection.start();
  connection.stop();
  fail(new Error('the server does not answer in time'));
  await new Promise(setImmediate);
  expect(lines).toEqual([]);
});
