/** The server's side of a handshake until a certificate is chosen, over a transport that does only what the test says. */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { PlaneContext } from '../../../src/plane/js/context.js';
import type { HandshakeFault } from '../../../src/plane/js/failures.js';
import { Handshake, type HandshakeOwner } from '../../../src/plane/js/handshake.js';
import { TlsContexts } from '../../../src/plane/js/tls.js';
import type { CertificateSet } from '../../../src/plane/plane.js';
import { clientHello } from '../../helpers/tls.js';
import { contextWith, settled } from './context.js';

const UNRECOGNIZED_NAME = Buffer.from('15030300020270', 'hex');

class Transport extends Duplex {
  readonly localAddress = '::ffff:127.0.0.1';
  readonly given: Buffer[] = [];

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.given.push(chunk);
    done();
  }

  destroySoon(): void {
    this.once('finish', () => this.destroy());
  }
}

class Owner implements HandshakeOwner {
  readonly id = 5;
  readonly calls: string[] = [];
  readonly faults: HandshakeFault[] = [];
  hasPlace = true;
  otherwise: CertificateSet['otherwise'] | 'fault' = 'ask';

  constructor(readonly context: PlaneContext) {}

  moveTo(pool: string): number | undefined {
    this.calls.push(pool);
    return this.hasPlace ? 1000 : undefined;
  }

  tls(): TlsContexts {
    if (this.otherwise === 'fault') throw new Error('no certificates');
    return new TlsContexts({ certificates: [], otherwise: this.otherwise });
  }

  onDeadline(): void {
    this.calls.push('deadline');
  }

  fail(): void {
    this.calls.push('fail');
  }

  onFault(fault: HandshakeFault): void {
    this.faults.push(fault);
  }

  onAccepted(): void {
    this.calls.push('accepted');
  }
}

/** A handshake that begins, and all that it tells. */
function begun() {
  const { context, log } = contextWith();
  const owner = new Owner(context);
  const transport = new Transport();
  const handshake = new Handshake(transport as unknown as Socket, owner);
  const says = async (bytes: Buffer | string) => {
    transport.push(bytes);
    await settled();
  };
  return { context, log, owner, transport, handshake, says, given: () => Buffer.concat(transport.given) };
}

/** A handshake that waits for a certificate. */
async function parked() {
  const made = begun();
  const hello = await clientHello('relay.test');
  await made.says(hello);
  expect(made.handshake.waits).toBe(true);
  return { ...made, hello };
}

describe('a handshake that waits for a certificate', () => {
  it('a handshake asks once, whatever the client sends behind its ClientHello, and reads 16 KiB of that', async () => {
    const { context, log, owner, transport, says, hello } = await parked();
    expect(owner.calls).toEqual(['parked', 'deadline']);
    expect([...context.parked.keys()]).toEqual([5]);
    await says(hello);
    await says(Buffer.alloc((16 << 10) - 2 * hello.length));
    expect(transport.isPaused()).toBe(false);
    await says(Buffer.alloc(1));
    expect(transport.isPaused()).toBe(true);
    expect(log).toEqual(['certificateNeeded [object Object]']);
    expect([owner.calls.length, owner.faults]).toEqual([2, []]);
  });

  it('a handshake without a place among those that wait is refused', async () => {
    const { context, log, owner, transport, handshake, says, given } = begun();
    owner.hasPlace = false;
    await says(await clientHello('relay.test'));
    expect([handshake.waits, context.parked.size, log]).toEqual([false, 0, []]);
    expect(owner.faults).toEqual([{ reason: 'unknown_name' }]);
    expect(given()).toEqual(UNRECOGNIZED_NAME);
    expect(transport.destroyed).toBe(true);
  });

  it('a handshake goes on waiting while there is no certificate for it, and is refused once there is to be none', async () => {
    const { context, owner, handshake, given } = await parked();
    handshake.lookAgain();
    expect([handshake.waits, context.parked.size]).toEqual([true, 1]);
    owner.otherwise = 'refuse';
    handshake.lookAgain();
    await settled();
    expect([handshake.waits, context.parked.size]).toEqual([false, 0]);
    expect(owner.faults).toEqual([{ reason: 'unknown_name' }]);
    expect(given()).toEqual(UNRECOGNIZED_NAME);
  });

  it('a handshake that is ended without a certificate reads no more', async () => {
    const { context, owner, transport, handshake } = await parked();
    handshake.end();
    expect(owner.faults).toEqual([{ reason: 'no_certificate' }]);
    expect([handshake.waits, context.parked.size, transport.destroyed]).toEqual([false, 0, true]);
    expect(transport.listenerCount('data')).toBe(0);
  });
});

describe('a handshake that fails', () => {
  it('a client without a server name is refused for that', async () => {
    const { owner, says, given } = begun();
    owner.otherwise = 'refuse';
    await says(await clientHello());
    expect(owner.faults).toEqual([{ reason: 'no_name' }]);
    expect(given()).toEqual(UNRECOGNIZED_NAME);
  });

  it('a request in the clear is answered, once the first five bytes are there', async () => {
    const { owner, transport, says, given } = begun();
    await says('GET ');
    expect(owner.faults).toEqual([]);
    await says('/ HTTP/1.1\r\n');
    expect(owner.faults).toEqual([{ reason: 'http' }]);
    expect(given().toString()).toMatch(/^HTTP\/1\.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS/);
    expect(transport.listenerCount('data')).toBe(0);
  });

  it('a fault in a handshake ends its owner', async () => {
    const { owner, log, says } = begun();
    owner.otherwise = 'fault';
    await says(await clientHello('relay.test'));
    expect(owner.calls).toEqual(['fail']);
    expect(log).toEqual([expect.stringMatching(/^fault ERR_INTERNAL a handshake: Error: no certificates/)]);
  });
});
