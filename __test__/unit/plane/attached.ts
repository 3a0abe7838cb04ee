/** Connections within this process, for a plane without sockets. */
import { Duplex } from 'node:stream';
import type { AttachOptions } from '../../../src/plane/plane.js';
import { DerpClient } from '../../helpers/client.js';
import { NO_RIGHTS, type PlaneHarness } from '../../helpers/plane-harness.js';
import { eventually } from '../../helpers/wait.js';

/** One end of a connection. What is written comes out of the other end, unless it is held. */
export class End extends Duplex {
  other: End | undefined;
  private isHeld = false;
  private waiting: (() => void)[] = [];

  constructor() {
    // As a socket: no buffer of its own beyond what is being written.
    super({ highWaterMark: 1 });
  }

  /** Takes nothing more that is written. */
  hold(): void {
    this.isHeld = true;
  }

  release(): void {
    this.isHeld = false;
    for (const take of this.waiting.splice(0)) take();
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.pass(() => {
      this.other?.push(chunk);
      done();
    });
  }

  override _final(done: () => void): void {
    this.pass(() => {
      this.other?.push(null);
      done();
    });
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.other?.push(null);
    done(error);
  }

  private pass(act: () => void): void {
    if (this.isHeld) this.waiting.push(act);
    else act();
  }
}

/** A client that waits for its admission over a stream, and the plane's end of that. */
export async function attaching(harness: PlaneHarness, options: AttachOptions = {}) {
  const [near, far] = [new End(), new End()];
  near.other = far;
  far.other = near;
  const id = await harness.plane.attach(far, { address: '192.0.2.1', port: 5 }, options);
  const client = DerpClient.over(near, { keys: harness.keys, target: () => ({ host: '', port: 0 }) });
  await eventually(() => harness.logins.some((login) => login.id === id), 'a login');
  return { client, id, near, far };
}

/** The client once the plane has admitted it. */
export async function attached(harness: PlaneHarness, options: AttachOptions = {}) {
  const { client, id, ...ends } = await attaching(harness, options);
  harness.plane.admit(id, NO_RIGHTS);
  return { client: await client, id, ...ends };
}
