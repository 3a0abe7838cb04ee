import { describe, expect, it } from 'vitest';
import { covers, hostOfField, isAmong, namesIn, withoutFinalDot } from '../../../src/protocol/host-name.js';

describe('a name of a certificate', () => {
  it.each([
    ['relay.internal', 'relay.internal'],
    ['Relay.Internal', 'rELAY.iNTERNAL'],
    ['relay.internal', 'relay.internal.'],
    ['*.internal', 'relay.internal'],
    ['*.internal', 'relay.internal.'],
    ['*.lan', 'a_b-c.lan'],
    ['*.example.com', 'relay.example.com'],
    ['localhost', 'localhost'],
  ])('%s covers %s', (pattern, host) => {
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
  ])('%j does not cover %j', (pattern, host) => {
    expect(covers(pattern, host)).toBe(false);
  });
});

describe('the names of a certificate', () => {
  it('are found in Node’s text of them', () => {
    const text = 'DNS:a.test, DNS:*.internal, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1, email:a@b.test';
    expect(namesIn(text)).toEqual(['a.test', '*.internal', '192.0.2.1', '2001:DB8:0:0:0:0:0:1']);
    expect(namesIn('DNS:a.test')).toEqual(['a.test']);
    expect(namesIn(undefined)).toEqual([]);
  });

  it('do not come out of one that has the form of several', () => {
    expect(namesIn('DNS:"evil.test, DNS:a.test", DNS:b.test')).toEqual(['b.test']);
    expect(namesIn('URI:"http://x/, IP Address:192.0.2.1"')).toEqual([]);
  });

  it('are compared as addresses where they are addresses', () => {
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
])('the host of the field %j is %j', (field, host) => {
  expect(hostOfField(field)).toBe(host);
});

it('a final dot goes, but not the root', () => {
  expect([withoutFinalDot('a.'), withoutFinalDot('a'), withoutFinalDot('.')]).toEqual(['a', 'a', '.']);
});
