import { describe, expect, it } from 'vitest';
import { HeadReader } from '../../../src/plane/js/http-head.js';
import { ProtocolError } from '../../../src/protocol/decode.js';
import {
  DERP_PATH,
  endOfSwitching,
  pathOfTarget,
  requestedFraming,
  switchingProtocols,
  upgradeRequest,
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
  ])('the path of the target %j is %j', (target, path) => {
    expect(pathOfTarget(target)).toBe(path);
  });

  it('the path of DERP is /derp', () => {
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
  ])('Upgrade: %j with Sec-WebSocket-Protocol: %j requests the framing %s', (upgrade, protocol, framing) => {
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
  ])('Derp-Fast-Start: %j requests a fast start: %s', (value, wanted) => {
    expect(wantsFastStart(value)).toBe(wanted);
  });
});

describe('switchingProtocols', () => {
  it('the answer to an upgrade is upstream’s to the byte', () => {
    const key = nodeKey(vectors.keys.values.server?.public);
    expect(switchingProtocols(key).toString('latin1')).toBe(vectors.upgrade.response?.text);
  });

  it('upstream’s answer to a fast start is empty', () => {
    expect(vectors.upgrade.responseFastStart?.text).toBe('');
  });
});

describe('the client’s side', () => {
  const answer = switchingProtocols(nodeKey(vectors.keys.values.server?.public));

  it('the client’s request is an upgrade to raw DERP', () => {
    const request = upgradeRequest('relay.test:8443');
    const head = new HeadReader(1000).read(request);
    expect(head).toEqual({ fastStart: false, notIdeal: false, end: request.length });
    expect(request.toString()).toContain('\r\nHost: relay.test:8443\r\n');
  });

  it('the client finds the end of the answer, where DERP begins', () => {
    const whole = Buffer.concat([answer, Buffer.from('\x01more\r\n\r\n')]);
    expect(endOfSwitching(whole, 1000)).toBe(answer.length);
    for (let length = 0; length < answer.length; length++) {
      expect(endOfSwitching(answer.subarray(0, length), 1000)).toBeUndefined();
    }
    expect(endOfSwitching(Buffer.from('HTTP/1.0 101\r\n\r\n'), 1000)).toBe(16);
  });

  it.each([
    ['HTTP/1.1 200 OK\r\n\r\n', 'it answers "HTTP/1.1 200 OK"'],
    ['HTTP/1.1 1010 Odd\r\n\r\n', 'it answers "HTTP/1.1 1010 Odd"'],
    ['HTTP/2 101\r\n\r\n', 'it answers "HTTP/2 101"'],
    ['\r\n\r\n', 'it answers ""'],
    [`HTTP/1.1 101 Switching Protocols\r\nX: ${'x'.repeat(1000)}`, 'it answers "HTTP/1.1 101 Switching Protocols"'],
    [`\x1b[2J${'x'.repeat(1000)}`, `it answers "\\u001b[2J${'x'.repeat(60)}"`],
  ])('the client refuses the answer %j', (text, message) => {
    expect(() => endOfSwitching(Buffer.from(text), 1000)).toThrow(new ProtocolError(message));
  });
});
