import { EventEmitter } from 'node:events';
import { expect, it, onTestFinished, vi } from 'vitest';
import { parseSettings, type RelayConfig } from '../../../src/config.js';
import { FaultLog } from '../../../src/faults/fault-log.js';
import { Registry } from '../../../src/registry/registry.js';
import { PlaneHandlers } from '../../../src/relay/plane-handlers.js';
import { Log } from '../../helpers/log.js';
import { keyOf } from '../plane/context.js';

/** Lets a client come and go, in time that stands still until the test moves it. */
function visitor(log: Log, config: RelayConfig = {}): (id: number) => void {
  vi.useFakeTimers({ toFake: ['performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const handlers = new PlaneHandlers(parseSettings(config), log.logger, new FaultLog(log.logger), new EventEmitter());
  const gate = { login: () => ({ mesh: false, receiveLimit: null }), gone: () => {} };
  handlers.connect({ plane: { admit: () => {}, gone: () => {} }, registry: new Registry(keyOf(0)), gate } as never);
  const info = { version: 2, meshKey: undefined, canAckPings: true, isProber: false, appName: '' };
  const peer = { address: '2001:db8::1', port: 4711 };
  return (id) => {
    handlers.login({ id, key: keyOf(id), info, peer, tlsVersion: null, notIdeal: false });
    handlers.closed(id, 'disconnected');
  };
}

it('clients that come and go have a bounded number of lines, which count those that were held back', () => {
  const log = new Log();
  const comeAndGo = visitor(log);
  for (let id = 1; id <= 1000; id++) comeAndGo(id);
  expect(log.lines).toHaveLength(500);
  const key = `nodekey:${'0'.repeat(62)}02`;
  const facts = `"client":1,"key":"${key}","addr":"[2001:db8::1]:4711"`;
  expect(log.lines.slice(0, 2)).toEqual([
    `debug: client connected {${facts}}`,
    `debug: client disconnected {${facts},"reason":"disconnected"}`,
  ]);
  vi.advanceTimersByTime(20);
  comeAndGo(1001);
  expect(log.lines).toHaveLength(502);
  expect(log.lines[500]).toContain('"heldBack":1500');
  expect(log.lines[501]).not.toContain('heldBack');
});

it('debugLogs has a bounded number of lines, which count those that were held back', () => {
  const log = new Log();
  const comeAndGo = visitor(log, { debugLogs: true });
  const told = () => log.lines.filter((line) => line.startsWith('info: client '));
  for (let id = 1; id <= 1000; id++) comeAndGo(id);
  expect(told()).toHaveLength(500);
  expect(told()[0]).toContain('info: client logs in {"client":1,');
  vi.advanceTimersByTime(20);
  comeAndGo(1001);
  expect(told().slice(500)).toEqual([
    expect.stringMatching(/logs in \{"client":1001,.*"heldBack":1500\}$/),
    'info: client ends {"client":1001,"reason":"disconnected"}',
  ]);
});
