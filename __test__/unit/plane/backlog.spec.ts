import { describe, expect, it } from 'vitest';
import { Backlog } from '../../../src/plane/js/backlog.js';
import { packet, WINDOW } from './egress-rig.js';

/** A backlog of which a packet leaves every ten milliseconds, and the time in milliseconds after the last one. */
function slow(): { backlog: Backlog; now: number } {
  const backlog = new Backlog();
  let now = 1_000;
  for (let number = 0; number < 20; number++) backlog.push(packet(number, 1400), 32, now);
  for (let number = 0; number < 20; number++) {
    now += 10;
    backlog.shift(now, () => {});
  }
  return { backlog, now };
}

describe('the window of a backlog', () => {
  it('packets that wait for the process alone leave the window as it is', () => {
    const { backlog, now } = slow();
    expect(backlog.window(WINDOW, now, false)).toBe(WINDOW);
  });

  it('what the system does not take makes the window what the link takes in 20 ms, and for a second after that', () => {
    const { backlog, now } = slow();
    expect(backlog.window(WINDOW, now, true)).toBeLessThan(WINDOW / 4);
    backlog.refused(now);
    expect(backlog.window(WINDOW, now + 1_000, false)).toBeLessThan(WINDOW / 4);
    expect(backlog.window(WINDOW, now + 1_001, false)).toBe(WINDOW);
  });
});
