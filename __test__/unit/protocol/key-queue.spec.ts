import { expect, it } from 'vitest';
import { KeyQueue } from '../../../src/protocol/key-queue.js';
import { SEED, seeded } from '../../helpers/random.js';
import { keyOf } from '../plane/context.js';

it('keys leave the queue in the order of their addition, whatever was taken and removed before', () => {
  const random = seeded(SEED);
  const sources = new KeyQueue();
  const model: number[] = [];
  for (let step = 0; step < 5000; step++) {
    const number = Math.floor(random() * 50);
    const known = model.indexOf(number);
    expect(sources.has(keyOf(number))).toBe(known >= 0);
    const action = random();
    if (action < 0.45) {
      sources.add(keyOf(number));
      if (known < 0) model.push(number);
    } else if (action < 0.6) {
      sources.delete(keyOf(number));
      if (known >= 0) model.splice(known, 1);
    } else if (action < 0.99) {
      const oldest = model.shift();
      expect(sources.takeOldest()).toBe(oldest === undefined ? undefined : keyOf(oldest));
    } else {
      sources.clear();
      model.length = 0;
    }
    expect(sources.size).toBe(model.length);
    expect([...sources]).toEqual(model.map(keyOf));
  }
});
