import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  DebugAccess,
  type DebugAccessOptions,
  type DebugReach,
  type DebugRequest,
} from '../../../src/http/debug-access.js';

const FAR = '192.0.2.1';

function from(address: string, more: Partial<DebugRequest> = {}): DebugRequest {
  return { method: 'GET', debugKey: null, headers: { host: 'derp.test' }, address, ...more };
}

function access(options: Partial<DebugAccessOptions> = {}): {
  allows(request: DebugRequest, reach?: DebugReach): boolean;
} {
  const made = new DebugAccess({ trustedCidrs: [], hosts: () => ['derp.test'], ...options });
  return { allows: (request, reach) => made.verdict(request, reach) === 'allowed' };
}

describe('access to /debug/', () => {
  it.each(['127.0.0.1', '127.9.9.9', '::1', '100.64.0.1', '100.127.255.254', 'fd7a:115c:a1e0::1'])(
    'the near address %s has access',
    (address) => {
      expect(access().allows(from(address))).toBe(true);
    },
  );

  it.each([FAR, '100.115.92.1', '100.128.0.1', '10.0.0.1', 'fd7a:115c:a1e1::1', '2001:db8::1', 'fe80::1%eth0', ''])(
    'the address %j has no access',
    (address) => {
      expect(access().allows(from(address))).toBe(false);
    },
  );

  it('allowIp gives access to one address, as it is written', () => {
    const named = access({ allowIp: '2001:db8::1' });
    expect(named.allows(from('2001:db8::1'))).toBe(true);
    expect(named.allows(from('2001:db8::2'))).toBe(false);
    expect(named.allows(from('2001:db8:0::1'))).toBe(false);
  });

  it('a trusted network of IPv6 has no IPv4 addresses, and one of IPv4 no IPv6 addresses', () => {
    for (const address of ['192.0.2.1', '::ffff:192.0.2.1']) {
      expect(access({ trustedCidrs: ['::/0'] }).allows(from(address))).toBe(false);
      expect(access({ trustedCidrs: ['0.0.0.0/0'] }).allows(from(address))).toBe(true);
    }
    expect(access({ trustedCidrs: ['0.0.0.0/0'] }).allows(from('2001:db8::1'))).toBe(false);
    expect(access({ trustedCidrs: ['::/0'] }).allows(from('2001:db8::1'))).toBe(true);
  });

  it('addresses of trusted networks have access, and other addresses do not', () => {
    const trusting = access({ trustedCidrs: ['192.0.2.0/24', '2001:db8::/32'] });
    for (const address of [FAR, '2001:db8:ffff::1']) expect(trusting.allows(from(address)), address).toBe(true);
    for (const address of ['192.0.3.1', '2001:db9::1']) expect(trusting.allows(from(address)), address).toBe(false);
  });

  it.each([
    ['x-forwarded-for', FAR],
    ['x-forwarded-for', ''],
    ['x-forwarded-host', 'a.test'],
    ['x-forwarded-proto', 'https'],
    ['x-real-ip', FAR],
    ['x-real-ip', ''],
    ['forwarded', `for=${FAR}`],
    ['via', '1.1 squid'],
    ['true-client-ip', FAR],
    ['cf-connecting-ip', FAR],
  ])('a request with the header %s: %j has no access, however near its proxy is', (name, value) => {
    const headers = { host: 'derp.test', [name]: value };
    expect(access({ trustedCidrs: ['0.0.0.0/0'] }).allows(from('127.0.0.1', { headers }))).toBe(false);
  });

  it.each([
    ...['derp.test', 'DERP.test:443', 'derp.test.', 'a.wild.test', 'localhost', 'localhost:80', '127.0.0.1:3340'],
    ...['10.0.0.1', '[::1]', '[fd7a:115c:a1e0::1]:443', undefined],
  ])('a request for the host %j has access', (host) => {
    const headers = host === undefined ? {} : { host };
    const hosts = () => ['derp.test', '*.wild.test'];
    expect(new DebugAccess({ trustedCidrs: [], hosts }).verdict(from('127.0.0.1', { headers }))).toBe('allowed');
  });

  it.each([
    ...['', 'evil.test', 'derp.test.evil.test', 'localhost.evil.test', 'x.derp.test', 'wild.test', 'a.b.wild.test'],
    ...['127.0.0.1.evil.test', '[evil.test]', 'derp.test:80:80', '.', '*.wild.test:x'],
  ])('a request for the host %j has no access, because any stranger may point such a name here', (host) => {
    const hosts = () => ['derp.test', '*.wild.test'];
    const verdict = new DebugAccess({ trustedCidrs: [], hosts }).verdict(from('127.0.0.1', { headers: { host } }));
    expect(verdict).toBe('unknown host');
  });

  it('an unknown address has no access if allowIp is empty', () => {
    expect(access({ allowIp: '' }).allows(from(''))).toBe(false);
  });

  it.each(['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'])(
    'a page for the machine of the relay answers %s',
    (address) => {
      expect(access().allows(from(address), 'machine')).toBe(true);
      expect(access().allows(from(address), 'key')).toBe(false);
    },
  );

  it.each(['100.64.0.1', 'fd7a:115c:a1e0::1', FAR, '198.51.100.1'])(
    'a page for the machine of the relay does not answer %s, which other pages answer',
    (address) => {
      const trusting = access({ trustedCidrs: ['198.51.100.0/24'], allowIp: FAR });
      expect(trusting.allows(from(address))).toBe(true);
      expect(trusting.allows(from(address), 'machine')).toBe(false);
      expect(trusting.allows(from(address), 'key')).toBe(false);
    },
  );

  it.each([
    ['x-forwarded-for', '127.0.0.1'],
    ['sec-fetch-site', 'cross-site'],
    ['sec-fetch-site', 'same-site'],
  ])('a page for the machine of the relay answers no request with %s: %s', (name, value) => {
    const headers = { host: 'derp.test', [name]: value };
    expect(access().allows(from('127.0.0.1', { headers }), 'machine')).toBe(false);
  });

  it('a page that could be held answers clients that are near, but no web page of another site', () => {
    const trusting = access({ trustedCidrs: ['192.0.2.0/24'] });
    const by = (site: string) => ({ headers: { host: 'derp.test', 'sec-fetch-site': site } });
    expect(trusting.allows(from('192.0.2.1', by('same-origin')), 'own')).toBe(true);
    expect(trusting.allows(from('192.0.2.1', by('cross-site')), 'own')).toBe(false);
    expect(trusting.allows(from('192.0.2.1', by('cross-site')), 'near')).toBe(true);
  });

  it.each(['none', 'same-origin'])(
    'a page for the machine of the relay answers a browser there, with sec-fetch-site: %s',
    (value) => {
      const headers = { host: 'derp.test', 'sec-fetch-site': value };
      expect(access().allows(from('127.0.0.1', { headers }), 'machine')).toBe(true);
    },
  );

  it.each([
    ...['x-client-ip', 'x-cluster-client-ip', 'fastly-client-ip', 'fly-client-ip', 'client-ip', 'x-remote-ip'],
    ...['x-azure-clientip', 'x-appengine-user-ip', 'x-envoy-external-address', 'x-original-host', 'cdn-loop'],
  ])('a request with the header %s comes through a proxy, and has no access', (name) => {
    expect(access().allows(from('127.0.0.1', { headers: { host: 'derp.test', [name]: '127.0.0.1' } }))).toBe(false);
  });

  it('changed rules hold from the next request on, in place of the rules before', () => {
    const made = new DebugAccess({ trustedCidrs: ['192.0.2.0/24'], hosts: () => ['derp.test'] });
    made.change({ trustedCidrs: ['198.51.100.0/24'], allowIp: '203.0.113.1' });
    const verdicts = ['192.0.2.1', '198.51.100.1', '203.0.113.1'].map((address) => made.verdict(from(address)));
    expect(verdicts).toEqual(['denied', 'allowed', 'allowed']);
    expect(made.verdict(from('198.51.100.1', { headers: { host: 'evil.test' } }))).toBe('unknown host');
  });

  it('without a key file, no key gives access', () => {
    expect(access().allows(from(FAR, { debugKey: 'any' }))).toBe(false);
  });

  it('a page that a client may not see is denied, as is a request that a web page of another site has sent', () => {
    const made = new DebugAccess({ trustedCidrs: [], hosts: () => ['derp.test'] });
    const headers = { host: 'derp.test', 'sec-fetch-site': 'cross-site' };
    expect(made.verdict(from('100.64.0.1'), 'machine')).toBe('denied');
    expect(made.verdict(from('127.0.0.1'), 'key')).toBe('denied');
    expect(made.verdict(from('127.0.0.1', { headers }), 'own')).toBe('denied');
  });

  it('a far client is denied before its host is checked', () => {
    const made = new DebugAccess({ trustedCidrs: [], hosts: () => [] });
    expect(made.verdict(from(FAR, { headers: { host: 'evil.test' } }))).toBe('denied');
  });

  it('the current key of the key file gives access to GET', () => {
    const directory = mkdtempSync(join(tmpdir(), 'derpkit-debug-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const keyFile = join(directory, 'key');
    const guarded = access({ keyFile });
    const asked = (debugKey: string, method = 'GET') => {
      const request = from(FAR, { debugKey, method, headers: { host: 'evil.test', 'x-forwarded-for': FAR } });
      const verdicts = (['near', 'machine', 'key'] as const).map((reach) => guarded.allows(request, reach));
      expect(new Set(verdicts).size).toBe(1);
      return verdicts[0];
    };
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
