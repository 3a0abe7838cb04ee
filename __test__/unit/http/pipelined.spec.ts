/** Requests that wait for their answers are bounded over all connections, but every connection may have one. */
import { once } from 'node:events';
import { expect, it, onTestFinished } from 'vitest';
import { HttpCounters } from '../../../src/http/counters.js';
import { eventually } from '../../helpers/wait.js';
import { Harness, NOTHING_TO_SHOW } from './harness.js';

const REQUEST = 'GET /debug/check HTTP/1.1\r\nHost: derp.test\r\n\r\n';

it('waiting requests of all connections are bounded, except the first of each connection', async () => {
  const counters = new HttpCounters();
  let asked = 0;
  let answer = (_problems: string[]) => {};
  const answered = new Promise<string[]>((resolve) => {
    answer = resolve;
  });
  const check = () => {
    asked += 1;
    return answered;
  };
  const debug = { ...NOTHING_TO_SHOW, check };
  const harness = await Harness.open('main', { counters, debug, pipelined: 3 });
  onTestFinished(() => harness.close());
  const [first, second, third] = [await harness.connect(), await harness.connect(), await harness.connect()];
  for (const socket of [first, second, third]) socket.resume();
  first.write(REQUEST.repeat(2));
  second.write(REQUEST);
  await eventually(() => asked === 3, 'three requests to be under way');
  const closed = once(second, 'close');
  second.write(REQUEST);
  await closed;
  expect(counters.failures.too_many).toBe(1);
  third.write(REQUEST);
  await eventually(() => asked === 4, 'the first request of another connection');
  expect([first.destroyed, third.destroyed]).toEqual([false, false]);
  // An answer makes room.
  answer([]);
  await eventually(() => first.bytesRead > 0 && third.bytesRead > 0, 'answers');
  third.write(REQUEST.repeat(2));
  await eventually(() => asked === 6, 'further requests');
  expect(counters.failures.too_many).toBe(1);
});
