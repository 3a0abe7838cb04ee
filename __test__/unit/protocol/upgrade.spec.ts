import { describe, expect, it } from 'vitest';
import {
  DERP_PATH,
  pathOfTarget,
  requestedFraming,
  switchingProtocols,
  wantsFastStart,
} from '../../../src/protocol/upgrade.js';
import { nodeKey, vectors } from '../vectors.js';

describe('pathOfTarget', () => {
  it.each([
    ['/derp', '/derp'],
    ['/derp?x=1', '/derp'],
    ['/derp?/derp/', '/derp'],
    ['/derp#x', '/derp'],
    ['/derp/', '/derp/'],
    ['/derpx', '/derpx'],
    ['/DERP', '/DERP'],
    ['//derp', '//derp'],
    ['/a/../derp', '/a/../derp'],
    ['/%64erp', '/%64erp'],
    ['http://derp.example.com/derp', '/derp'],
    ['HTTPS://derp.example.com:443/derp?x', '/derp'],
    ['http://derp.example.com', '/'],
    ['http://derp.example.com?x', '/'],
    ['http:///derp', '/derp'],
    ['/http://x/derp', '/http://x/derp'],
    ['/', '/'],
    ['', '/'],
    ['*', '*'],
    ['derp', 'derp'],
    ['derp.example.com:443', 'derp.example.com:443'],
  ])('of %j', (target, path) => {
    expect(pathOfTarget(target)).toBe(path);
  });

  it('has one path that is DERP', () => {
    expect(DERP_PATH).toBe('/derp');
  });
});

describe('requestedFraming', () => {
  it.each([
    ['DERP', undefined, 'raw'],
    ['derp', undefined, 'raw'],
    ['dErP', undefined, 'raw'],
    ['DERP', 'derp', 'raw'],
    ['WebSocket', undefined, 'raw'],
    ['websocket', '', 'raw'],
    ['WEBSOCKET', 'chat', 'raw'],
    ['websocket', 'DERP', 'raw'],
    ['websocket', 'derp', 'websocket'],
    ['WebSocket', 'chat, derp', 'websocket'],
    ['websocket', 'derpx', 'websocket'],
    [undefined, undefined, undefined],
    [undefined, 'derp', undefined],
    ['', undefined, undefined],
    ['DERP, websocket', undefined, undefined],
    ['derp/2', undefined, undefined],
    [' derp', undefined, undefined],
    ['h2c', undefined, undefined],
  ])('of Upgrade %j, Sec-WebSocket-Protocol %j', (upgrade, protocol, framing) => {
    expect(requestedFraming(upgrade, protocol)).toBe(framing);
  });
});

describe('wantsFastStart', () => {
  it.each([
    ['1', true],
    ['0', false],
    ['', false],
    ['true', false],
    ['11', false],
    [' 1', false],
    [undefined, false],
  ])('of %j', (value, wanted) => {
    expect(wantsFastStart(value)).toBe(wanted);
  });
});

describe('switchingProtocols', () => {
  it('is upstream’s to the byte', () => {
    const key = nodeKey(vectors.keys.values.server?.public);
    expect(switchingProtocols(key).toString('latin1')).toBe(vectors.upgrade.response?.text);
  });

  it('is nothing at all after a fast start', () => {
    expect(vectors.upgrade.responseFastStart?.text).toBe('');
  });
});
