/**
 * HTTPS to a certificate authority. It always verifies the server by the relay's roots, whatever
 * `NODE_TLS_REJECT_UNAUTHORIZED` says.
 */
import { Agent, type RequestOptions, request } from 'node:https';
import { createSecureContext } from 'node:tls';
import { withDeadline } from './deadline.js';

/** Longest answer in bytes. Certificate chains are far shorter. */
const MOST_BYTES = 1 << 20;
/** Milliseconds from the first byte of a request to the last byte of its answer. */
const TIMEOUT = 30_000;

export interface Answer {
  readonly status: number;
  /** Header names are in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export type Method = 'GET' | 'HEAD' | 'POST';

export class Transport {
  private readonly agent: Agent;

  /** `roots` are certificates in PEM. */
  constructor(
    roots: readonly string[],
    private readonly userAgent: string,
    private readonly timeout = TIMEOUT,
  ) {
    const secureContext = createSecureContext({ ca: [...roots] });
    const options = { keepAlive: true, maxSockets: 2, rejectUnauthorized: true, secureContext };
    this.agent = new Agent(options as ConstructorParameters<typeof Agent>[0]);
  }

  /** Sends a request. Rejects if the whole answer does not arrive in time. */
  send(method: Method, url: string, body: string | undefined, signal: AbortSignal): Promise<Answer> {
    if (!URL.canParse(url) || new URL(url).protocol !== 'https:') {
      return Promise.reject(
        new Error(`the certificate authority names ${JSON.stringify(url)}, which is no https:// URL`),
      );
    }
    const deadline = withDeadline(this.timeout, signal);
    const options: RequestOptions = {
      method,
      agent: this.agent,
      signal: deadline.signal,
      headers: {
        'User-Agent': this.userAgent,
        ...(body !== undefined && {
          'Content-Type': 'application/jose+json',
          'Content-Length': Buffer.byteLength(body),
        }),
      },
    };
    const answered = new Promise<Answer>((resolve, reject) => {
      const failed = (error: Error) => reject(unreachable(url, error));
      const outgoing = request(url, options, (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('error', failed);
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > MOST_BYTES) response.destroy(new Error('its answer is too long'));
          else chunks.push(chunk);
        });
        response.on('end', () => {
          const { statusCode: status = 0, headers } = response;
          resolve({ status, headers, body: Buffer.concat(chunks).toString() });
        });
      });
      outgoing.on('error', failed);
      outgoing.end(body);
    });
    return answered.finally(deadline.release);
  }

  /** Closes the idle connections. */
  close(): void {
    this.agent.destroy();
  }
}

function unreachable(url: string, error: Error): Error {
  const { code } = error as NodeJS.ErrnoException;
  const timedOut = error.name === 'TimeoutError' || code === 'ABORT_ERR';
  const reason = timedOut ? 'no answer in time' : error.message;
  return new Error(`the certificate authority at ${new URL(url).host} cannot be reached: ${reason}`, { cause: error });
}
