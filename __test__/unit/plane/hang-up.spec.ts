/** The end of a connection from the relay's side. */
import { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { expect, it, onTestFinished, vi } from 'vitest';
import { hangUp } from '../../../src/plane/js/hang-up.js';

/** A connection that takes no byte. */
function full(): Duplex {
  return new Duplex({ read() {}, write() {} });
}

it('a connection without TLS is destroyed at once', () => {
  const stream = full();
  hangUp(stream);
  expect(stream.destroyed).toBe(true);
});

it('a connection over TLS whose last bytes the system does not take is destroyed after a second', () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const stream = new TLSSocket(full());
  hangUp(stream);
  vi.advanceTimersByTime(999);
  expect(stream.destroyed).toBe(false);
  vi.advanceTimersByTime(1);
  expect(stream.destroyed).toBe(true);
});
