import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { DebugAccess, type DebugRequest } from '../../../src/http/debug-access.js';

const FAR = '192.0.2.1';

function from(address: string, more: Partial<DebugRequest> = {}): DebugRequest {
  return { method: 'GET', debugKey: null, forwardedFor: undefined, address, ...more };
}

describe('access to /debug/', () => {
  it.each(['127.0.0.1', '127.9.9.9', '::1', '100.64.0.1', '100.127.255.254', 'fd7a:115c:a1e0::1'])(
    'is given to %s, which is near',
    (address) => {
      expect(new DebugAccess({ trustedCidrs: [] }).allows(from(address))).toBe(true);
    },
  );

  it.each([FAR, '100.115.92.1', '100.128.0.1', '10.0.0.1', 'fd7a:115c:a1e1::1', '2001:db8::1', 'fe80::1%eth0', ''])(
    'is not given to %j',
    (address) => {
      expect(new DebugAccess({ trustedCidrs: [] }).allows(from(address))).toBe(false);
    },
  );

  it('lets in the address that is named, as it is written', () => {
    const access = new DebugAccess({ trustedCidrs: [], allowIp: '2001:db8::1' });
    expect(access.allows(from('2001:db8::1'))).toBe(true);
    expect(access.allows(from('2001:db8::2'))).toBe(false);
    expect(access.allows(from('2001:db8:0::1'))).toBe(false);
  });

  it('lets in the networks that are trusted', () => {
    const access = new DebugAccess({ trustedCidrs: ['192.0.2.0/24', '2001:db8::/32'] });
    for (const address of [FAR, '2001:db8:ffff::1']) expect(access.allows(from(address)), address).toBe(true);
    for (const address of ['192.0.3.1', '2001:db9::1']) expect(access.allows(from(address)), address).toBe(false);
  });

  it('is given to nobody behind a proxy, however near that is', () => {
    const access = new DebugAccess({ trustedCidrs: ['0.0.0.0/0'] });
    expect(access.allows(from('127.0.0.1', { forwardedFor: FAR }))).toBe(false);
    expect(access.allows(from(FAR, { forwardedFor: '' }))).toBe(true);
  });

  it('is given to GET with the key of the file, as it is now', () => {
    const directory = mkdtempSync(join(tmpdir(), 'derpkit-debug-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const keyFile = join(directory, 'key');
    const access = new DebugAccess({ trustedCidrs: [], keyFile });
    const asked = (debugKey: string, method = 'GET') =>
      access.allows(from(FAR, { debugKey, method, forwardedFor: FAR }));
    expect(asked('open')).toBe(false);
    writeFileSync(keyFile, ' open\n');
    expect(asked('open')).toBe(true);
    expect(asked('open', 'POST')).toBe(false);
    expect(asked('opem')).toBe(false);
    writeFileSync(keyFile, '\n');
    expect(asked('open')).toBe(false);
    expect(asked('')).toBe(false);
  });
});
