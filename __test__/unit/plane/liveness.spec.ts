import { describe, expect, it } from 'vitest';
import { parseSettings } from '../../../src/config.js';
import { Liveness } from '../../../src/plane/js/liveness.js';
import { planePolicy } from '../../../src/relay/policy.js';

const { deadlines } = planePolicy(parseSettings({}));

describe('the liveness of a client', () => {
  it('a client is pinged 45 s after its last byte, and gone 15 s later', () => {
    const liveness = new Liveness(1000);
    expect(liveness.look(1000, deadlines)).toBe(46_000);
    expect(liveness.look(45_999, deadlines)).toBe(46_000);
    expect(liveness.look(46_010, deadlines)).toBe('ping');
    expect(liveness.look(61_009, deadlines)).toBe(61_010);
    expect(liveness.look(61_010, deadlines)).toBe('gone');
  });

  it('the time of a Ping may be any, zero included', () => {
    const liveness = new Liveness(-45_000);
    expect(liveness.look(0, deadlines)).toBe('ping');
    expect(liveness.look(1, deadlines)).toBe(15_000);
  });

  it('a client that sends anything is alive', () => {
    const liveness = new Liveness(0);
    liveness.heard(30_000);
    expect(liveness.look(45_000, deadlines)).toBe(75_000);
    expect(liveness.look(75_000, deadlines)).toBe('ping');
    liveness.heard(75_000);
    expect(liveness.look(90_000, deadlines)).toBe(120_000);
    expect(liveness.look(120_000, deadlines)).toBe('ping');
  });

  it('the round trip of a client is the time that its last Pong took', () => {
    const liveness = new Liveness(0);
    liveness.answered(10);
    expect(liveness.roundTrip).toBeUndefined();
    expect(liveness.look(45_000, deadlines)).toBe('ping');
    // Other bytes show that it is there, and not how far away it is.
    liveness.heard(45_010);
    expect(liveness.roundTrip).toBeUndefined();
    liveness.answered(45_070);
    expect(liveness.roundTrip).toBe(70);
    liveness.answered(50_000);
    expect(liveness.roundTrip).toBe(70);
    expect(liveness.look(95_000, deadlines)).toBe('ping');
    liveness.answered(95_020);
    expect(liveness.roundTrip).toBe(20);
  });

  it('a client is not pinged if tcpUserTimeout is 0', () => {
    const { deadlines } = planePolicy(parseSettings({ tcpUserTimeout: 0 }));
    expect(new Liveness(0).look(1e9, deadlines)).toBe(Number.POSITIVE_INFINITY);
  });
});
