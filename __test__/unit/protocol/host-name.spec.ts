import { describe, expect, it } from 'vitest';
import { covers, hostOfField, isAmong, namesIn, withoutFinalDot } from '../../../src/protocol/host-name.js';

describe('names of certificates', () => {
  it.each([
    ['relay.internal', 'relay.internal'],
    ['Relay.Internal', 'rELAY.iNTERNAL'],
    ['relay.internal', 'relay.internal.'],
    ['*.internal', 'relay.internal'],
    ['*.internal', 'relay.internal.'],
    ['*.lan', 'a_b-c.lan'],
    ['*.example.com', 'relay.example.com'],
    ['localhost', 'localhost'],
  ])('the certificate name %s covers the host %s', (pattern, host) => {
    expect(covers(pattern, host)).toBe(true);
  });

  it.each([
    ['*.internal', 'internal'],
    ['*.internal', 'a.b.internal'],
    ['*.internal', '.internal'],
    ['*', 'localhost'],
    ['*.', 'localhost.'],
    ['r*.internal', 'relay.internal'],
    ['relay.*', 'relay.internal'],
    ['*.*.test', 'a.b.test'],
    ['relay.internal.', 'relay.internal'],
    ['relay.internal', 'other.internal'],
    ['relay', 'relay.internal'],
    ['', ''],
    ['', 'relay'],
    ['*.internal', '-a.internal'],
    ['*.internal', '*.internal.'],
  ])('the certificate name %j does not cover the host %j', (pattern, host) => {
    expect(covers(pattern, host)).toBe(false);
  });
});

describe('Node’s text of the names of a certificate', () => {
  it('the names of a certificate are read from Node’s text', () => {
    const text = 'DNS:a.test, DNS:*.internal, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1, email:a@b.test';
    expect(namesIn(text)).toEqual(['a.test', '*.internal', '192.0.2.1', '2001:DB8:0:0:0:0:0:1']);
    expect(namesIn('DNS:a.test')).toEqual(['a.test']);
    expect(namesIn(undefined)).toEqual([]);
  });

  it('a quoted name, which may look like several, is passed over', () => {
    expect(namesIn('DNS:"evil.test, DNS:a.test", DNS:b.test')).toEqual(['b.test']);
    expect(namesIn('URI:"http://x/, IP Address:192.0.2.1"')).toEqual([]);
  });

  it('addresses among the names of a certificate are compared as addresses', () => {
    expect(isAmong(['2001:DB8:0:0:0:0:0:1'], '2001:db8::1')).toBe(true);
    expect(isAmong(['192.0.2.1'], '192.0.2.1')).toBe(true);
    expect(isAmong(['192.0.2.1', '*.0.2.2'], '192.0.2.2')).toBe(false);
    expect(isAmong(['a.test'], 'a.test.')).toBe(true);
  });
});

it.each([
  ['a.test', 'a.test'],
  ['A.test.:8080', 'a.test'],
  ['[::1]:443', '::1'],
  ['::1', '::1'],
  ['a:b:c', 'a:b:c'],
  ['', ''],
  ['.', '.'],
])('the host of the header Host: %j is %j', (field, host) => {
  expect(hostOfField(field)).toBe(host);
});

it('a final dot is removed from a name, but not from the root', () => {
  expect([withoutFinalDot('a.'), withoutFinalDot('a'), withoutFinalDot('.')]).toEqual(['a', 'a', '.']);
});
