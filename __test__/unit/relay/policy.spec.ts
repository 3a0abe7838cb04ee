import { describe, expect, it } from 'vitest';
import { parseSettings, type RelayConfig } from '../../../src/config.js';
import { ORDER_TIMEOUT } from '../../../src/control/acme/authority.js';
import { planePolicy } from '../../../src/relay/policy.js';

const limitsOf = (limits: NonNullable<RelayConfig['limits']>) => planePolicy(parseSettings({ limits })).limits;

describe('the policy of the plane', () => {
  it('the policy has the bounds of strangers that the settings name', () => {
    expect(limitsOf({})).toMatchObject({ perAddress: 256, exempt: ['127.0.0.0/8', '::1/128'] });
    const given = { perAddress: 7, exempt: '192.0.2.0/24, 2001:db8::/32' };
    expect(limitsOf(given)).toMatchObject({ perAddress: 7, exempt: ['192.0.2.0/24', '2001:db8::/32'] });
    expect(limitsOf({ exempt: '' }).exempt).toEqual([]);
  });

  it('the policy leaves more than a quarter of all connections to admitted clients', () => {
    for (const connections of [100, 921, 20_000, 60_000]) {
      const { handshakes, parkedHandshakes, pendingLogins, duplexes } = limitsOf({ connections });
      // Two listeners, one of which has TLS, where HTTP takes three descriptors; the other one has no logins.
      const strangers = 2 * handshakes + parkedHandshakes + pendingLogins + (3 + 1) * duplexes;
      expect(strangers).toBeLessThan((connections * 3) / 4);
      expect(handshakes).toBeLessThanOrEqual(4096);
    }
    const pools = { handshakes: 4096, parkedHandshakes: 1024, pendingLogins: 4096, duplexes: 4096 };
    expect(limitsOf({})).toMatchObject(pools);
  });

  it('the policy lets handshakes wait for a certificate as long as its order may take', () => {
    expect(planePolicy(parseSettings({})).deadlines.certificate).toBe(ORDER_TIMEOUT);
  });
});
