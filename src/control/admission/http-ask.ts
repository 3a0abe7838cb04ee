/** One request to a verifier, bounded in time and in bytes. */
import { type Agent, type IncomingHttpHeaders, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { request as requestTls } from 'node:https';

export interface Asking {
  readonly options: RequestOptions;
  readonly tls?: boolean;
  readonly agents: Agents;
  readonly body?: string;
  /** Bytes of the answer's body that are read. */
  readonly limit: number;
  /** Ends the request, whatever it has come to. */
  readonly signal: AbortSignal;
  /** Whether the first bytes of the body are enough, so that its end need not come. */
  readonly enough?: (body: string) => boolean;
}

/** The agent whose connections are kept, and one for a question that has met a kept one at its end. */
export interface Agents {
  readonly kept: Agent;
  readonly fresh: Agent;
}

export interface Reply {
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingHttpHeaders;
  /** The first bytes of the body, up to the limit; invalid UTF-8 is replaced. */
  readonly body: string;
  /** What broke the body off before its end, if anything did. */
  readonly broken: Error | undefined;
}

/** Sockets to one verifier that are kept between questions. */
export const KEPT = { keepAlive: true, maxSockets: 64, maxFreeSockets: 4 } as const;

/**
 * Rejects if no head of an answer comes. A kept socket that the other side has closed meanwhile is no failure: then the
 * question is asked once more, on a socket of its own.
 */
export async function ask(asking: Asking): Promise<Reply> {
  try {
    return await askOnce(asking, asking.agents.kept);
  } catch (error) {
    if (!(error instanceof StaleSocket)) throw error;
    if (asking.signal.aborted) throw error.cause;
  }
  return askOnce(asking, asking.agents.fresh);
}

/** A kept socket failed before any byte of an answer. */
class StaleSocket extends Error {}

function askOnce({ options, tls, body, limit, signal, enough }: Asking, agent: Agent): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const asked = (tls ? requestTls : request)({ ...options, agent, signal });
    asked.on('response', (response) => {
      resolve(read(response, limit, enough));
    });
    asked.on('error', (cause) => reject(asked.reusedSocket ? new StaleSocket('', { cause }) : cause));
    // Nobody has asked for another protocol.
    asked.on('upgrade', (_response, socket) => {
      socket.destroy();
      reject(new Error('the answer changes the protocol'));
    });
    asked.end(body);
  });
}

function read(response: IncomingMessage, limit: number, enough: Asking['enough']): Promise<Reply> {
  return new Promise((resolve) => {
    const { statusCode: status = 0, statusMessage: statusText = '', headers } = response;
    const chunks: Buffer[] = [];
    let length = 0;
    const done = (broken?: Error) => {
      const body = Buffer.concat(chunks).subarray(0, limit).toString();
      resolve({ status, statusText, headers, body, broken });
    };
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length < limit && !enough?.(Buffer.concat(chunks).toString())) return;
      done();
      // The rest is not read, so its socket is of no more use.
      if (!response.complete) response.destroy();
    });
    response.on('end', () => done());
    response.on('error', done);
    response.on('close', () => done(new Error('the answer broke off')));
  });
}
