import { Duplex } from 'node:stream';
import type { Face, HttpServer } from '../../../src/http/server.js';
import type { TlsVersion } from '../../../src/plane/plane.js';
import { turn } from '../../helpers/wait.js';

interface Visitor {
  readonly face?: Face;
  readonly address?: string;
  readonly tlsVersion?: TlsVersion | null;
  /** False for a client that takes no bytes. */
  readonly reads?: boolean;
}

/** A connection of an HTTP server without a socket, from any address: what the server writes, and when it closes. */
export class Visit {
  text = '';
  readonly stream: Duplex;

  constructor(
    http: Pick<HttpServer, 'accept'>,
    { face = 'main', address = '127.0.0.1', tlsVersion = null, reads = true }: Visitor = {},
  ) {
    this.stream = new Duplex({
      read() {},
      write: (chunk, _encoding, done) => {
        this.text += chunk.toString('latin1');
        if (reads) done();
      },
    });
    http.accept(0, this.stream, face, { listener: 0, peer: { address, port: 4321 }, tlsVersion });
  }

  /** Sends lines, with `|` for their ends, and a blank one. */
  async ask(lines: string): Promise<this> {
    return this.send(`${lines.replaceAll('|', '\r\n')}\r\n\r\n`);
  }

  async send(text: string): Promise<this> {
    this.stream.push(text, 'latin1');
    await turn();
    return this;
  }
}
