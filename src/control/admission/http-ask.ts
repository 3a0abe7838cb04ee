/** One HTTP request to a verifier, with bounds of time and size. */
import { type Agent, type IncomingHttpHeaders, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { request as requestTls } from 'node:https';

export interface Asking {
  readonly options: RequestOptions;
  readonly tls?: boolean;
  readonly agents: Agents;
  readonly body?: string;
  /** Bytes of the body to read. */
  readonly limit: number;
  /** Aborts the request at any stage. */
  readonly signal: AbortSignal;
  /** Whether the bytes so far suffice, so that the rest of the body is not needed. */
  readonly enough?: (body: string) => boolean;
}

/** The agent with kept connections, and one for the repetition of a question whose kept connection had ended. */
export interface Agents {
  readonly kept: Agent;
  readonly fresh: Agent;
}

export interface Reply {
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingHttpHeaders;
  /** The start of the body, up to the limit; invalid UTF-8 is replaced. */
  readonly body: string;
  /** Whether the body was cut off before it was enough. */
  readonly broken: boolean;
}

/** How many sockets to one verifier stay open between questions. */
export const KEPT = { keepAlive: true, maxSockets: 64, maxFreeSockets: 4 } as const;

/**
 * Sends a request. Rejects if no head of an answer arrives. A kept socket that the verifier has closed is no failure:
 * the request is repeated once, on a new socket.
 */
export async function ask(asking: Asking): Promise<Reply> {
  try {
    return await askOnce(asking, asking.agents.kept);
  } catch (error) {
    if (!(error instanceof StaleSocket) || asking.signal.aborted) throw error;
  }
  return askOnce(asking, asking.agents.fresh);
}

/** A kept socket failed before the first byte of an answer. */
class StaleSocket extends Error {}

function askOnce({ options, tls, body, limit, signal, enough }: Asking, agent: Agent): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const asked = (tls ? requestTls : request)({ ...options, agent, signal });
    asked.on('response', (response) => {
      resolve(read(response, limit, enough));
    });
    asked.on('error', (error) => reject(asked.reusedSocket ? new StaleSocket() : error));
    // The request asked for no upgrade.
    asked.on('upgrade', (_response, socket) => {
      socket.destroy();
      reject(new Error('the answer switches the protocol'));
    });
    asked.end(body);
  });
}

function read(response: IncomingMessage, limit: number, enough: Asking['enough']): Promise<Reply> {
  return new Promise((resolve) => {
    const { statusCode: status = 0, statusMessage: statusText = '', headers } = response;
    const chunks: Buffer[] = [];
    let length = 0;
    const done = (broken: boolean) => {
      const body = Buffer.concat(chunks).subarray(0, limit).toString();
      resolve({ status, statusText, headers, body, broken });
    };
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length < limit && !enough?.(Buffer.concat(chunks).toString())) return;
      done(false);
      // The rest stays unread, so the socket cannot be used again.
      if (!response.complete) response.destroy();
    });
    response.on('end', () => done(false));
    // The end of the connection follows.
    response.on('error', () => {});
    response.on('close', () => done(true));
  });
}
