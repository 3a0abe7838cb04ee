import { expect, it } from 'vitest';
import { WritableCounters } from '../../../src/plane/counters.js';
import { QueueTime } from '../../../src/plane/js/queue-time.js';

it('the queue time is a moving average in whole nanoseconds, in which a packet has a tenth of the weight', () => {
  const counters = new WritableCounters();
  const time = new QueueTime(counters);
  time.waited(10);
  expect(counters.read('queue_time')).toBe(0);
  time.show();
  expect(counters.read('queue_time')).toBe(1_000_000);
  time.waited(0);
  time.show();
  expect(counters.read('queue_time')).toBe(900_000);
  time.waited(0.900_010_5);
  time.show();
  expect(counters.read('queue_time')).toBe(900_001);
});
