import { describe, expect, it } from 'vitest';
import { parseNatsServer } from '../../../src/protocol/nats-server.js';

const NONE = { tls: false, user: undefined, password: undefined, token: undefined };

describe('a server of NATS', () => {
  it.each<[string, object]>([
    ['a.example.com', { ...NONE, host: 'a.example.com', port: 4222 }],
    ['a:1', { ...NONE, host: 'a', port: 1 }],
    ['nats://10.0.0.2:65535/', { ...NONE, host: '10.0.0.2', port: 65535 }],
    ['[fd00::2]', { ...NONE, host: 'fd00::2', port: 4222 }],
    ['tls://[fd00::2]:5', { ...NONE, tls: true, host: 'fd00::2', port: 5 }],
    ['tls://me:a%40b%2C%3A@a', { ...NONE, tls: true, host: 'a', port: 4222, user: 'me', password: 'a@b,:' }],
    ['me:a:b@a:5', { ...NONE, host: 'a', port: 5, user: 'me', password: 'a:b' }],
    ['me:@a', { ...NONE, host: 'a', port: 4222, user: 'me', password: '' }],
    ['nats://s3cr%25t@a', { ...NONE, host: 'a', port: 4222, token: 's3cr%t' }],
  ])('%s is read', (text, server) => {
    expect(parseNatsServer(text)).toEqual(server);
  });

  it.each([
    ...['', 'nats://', '@a', ':b@a', 'a@', '%@a', 'a:', 'a:0', 'a:65536', 'a:123456', '::1', '[::1', '[a]', '[]'],
    ...['http://a', 'ws://a', 'NATS://a', 'nats://a/b', 'nats://a?b', 'nats://a#b', 'a b', 'a\n', '\0', 'u@v@w'],
    `${'a'.repeat(2000)}@b`,
  ])('%j is refused', (text) => {
    expect(parseNatsServer(text)).toBeUndefined();
  });
});
