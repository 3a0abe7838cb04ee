/** Relays that commands look at from outside, and clients that give them something to see. */

import { writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { PlaneKind } from '../../src/plane/plane.js';

import type { ClientOptions, DerpClient } from '../helpers/client.js';
import { type Command, start, temporary } from './commands.js';
import { keyOf, logIn, portOf } from './reach.js';

/** An address of this machine that is not its loopback, if it has one. */
export const FAR = Object.values(networkInterfaces())
  .flatMap((addresses = []) => addresses)
  .find(({ internal, family }) => !internal && family === 'IPv4')?.address;

export const DEBUG_KEY = 'the key, & nothing else';

export interface Watched {
  readonly command: Command;
  readonly port: number;
  readonly url: string;
  /** A file with {@link DEBUG_KEY}. */
  readonly keyFile: string;
  connect(options?: ClientOptions): Promise<DerpClient>;
  /** Before the relay ends. */
  onEnd(act: () => void): void;
}

/** A relay on all addresses, with a debug key. */
export async function watched(plane: PlaneKind, { tls = false, port: wanted = 0 } = {}): Promise<Watched> {
  const directory = temporary();
  const keyFile = join(directory, 'debug.key');
  writeFileSync(keyFile, `${DEBUG_KEY}\n`);
  const command = start('derpkit', [
    'serve',
    ...[
      '--plane',
      plane,
      '--data-dir',
      join(directory, 'data'),
      `--listen=0.0.0.0:${wanted}`,
      '--http-port=-1',
      '--no-stun',
    ],
    ...['--cert-mode', tls ? 'self-signed' : 'off', '--debug-key-file', keyFile],
  ]);
  const port = await portOf(command, tls ? 'DERP over TLS' : 'DERP over plain HTTP');
  const key = await keyOf(command);
  return {
    command,
    port,
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    keyFile,
    connect: (options) => logIn(port, key, tls ? { rejectUnauthorized: false } : undefined, options),
    onEnd: (act) => onTestFinished(act),
  };
}
