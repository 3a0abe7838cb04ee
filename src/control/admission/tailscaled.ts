/** Asks a local tailscaled over its LocalAPI whether a node belongs to its tailnet. */
import { Agent, type RequestOptions } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../../errors.js';
import { formatNodeKey, type NodeKey, parseNodeKeyHex } from '../../protocol/key.js';
import { type Agents, ask, KEPT, type Reply } from './http-ask.js';
import type { MacApp } from './mac-app.js';
import { ALLOWED, type Answer, denied, type Failed, failed, type Question, type Verifier } from './verifier.js';

/** The capability version that Go's client of this version sends. */
const CAPABILITY = '148';
/** tailscaled refuses requests with another Host. */
const HOST = 'local-tailscaled.sock';
/** Longest answer in bytes. A node with all its capabilities is far smaller. */
const LIMIT = 1 << 20;
/**
 * As derper does, waits for a tailscaled that starts beside the relay: milliseconds after the start, and between
 * attempts.
 */
const PATIENCE = 2000;
const TRY_AGAIN = 250;
/** Milliseconds for which tailscaled is assumed to stay logged in. */
const BELIEVED = 1000;

export interface TailscaledOptions {
  /** A Unix socket, or a named pipe on Windows. */
  readonly socket: string;
  /** Where the app is looked for before that; only macOS has one. */
  readonly app?: MacApp | undefined;
  /** Milliseconds since this process started. */
  readonly uptime?: () => number;
}

export class Tailscaled implements Verifier {
  readonly name: string;
  readonly bySource = false;
  private readonly agents: Agents = { kept: new Agent(KEPT), fresh: new Agent() };
  private runningAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: TailscaledOptions) {
    this.name = `tailscaled ${options.socket}`;
  }

  /** Whether an app may be asked in place of the socket. */
  get asksApp(): boolean {
    return this.options.app !== undefined;
  }

  async ask({ key }: Question, signal: AbortSignal): Promise<Answer> {
    const reply = await this.get(`whois?addr=${encodeURIComponent(formatNodeKey(key))}`, signal);
    if (!isReply(reply)) return reply;
    if (reply.status === 200) return this.isNode(reply) ? ALLOWED : failed(`${this.name}: the answer is not JSON`);
    if (reply.status !== 404) return failed(this.strange(reply));
    // A tailscaled that is not logged in knows no node, so its answer says nothing about the client.
    const trouble = await this.notRunning(signal);
    return trouble ?? denied('not found in the local tailscaled');
  }

  /** Whether tailscaled is logged in. */
  async check(signal: AbortSignal): Promise<string> {
    const status = await this.status(signal);
    if ('kind' in status) return `tailscaled: ${status.reason}`;
    if (!status.self) return `${this.name} does not say which node it is`;
    const answer = await this.ask({ key: status.self, address: '::1' }, signal);
    return answer.kind === 'allowed' ? '' : `verifyClient for self nodekey: ${answer.reason}`;
  }

  close(): void {
    this.agents.kept.destroy();
  }

  /** An object, or null. */
  private isNode({ body, broken }: Reply): boolean {
    const value = broken ? undefined : parsed(body);
    return typeof value === 'object' && !Array.isArray(value);
  }

  private async notRunning(signal: AbortSignal): Promise<Failed | undefined> {
    if (performance.now() - this.runningAt < BELIEVED) return undefined;
    const status = await this.status(signal);
    if ('kind' in status) return status;
    if (status.state !== 'Running') return failed(`${this.name} is not logged in: its state is ${status.state}`);
    this.runningAt = performance.now();
    return undefined;
  }

  private async status(signal: AbortSignal): Promise<Failed | { readonly state: string; readonly self?: NodeKey }> {
    const reply = await this.get('status?peers=false', signal);
    if (!isReply(reply)) return reply;
    if (reply.status !== 200) return failed(this.strange(reply));
    const status = parsed(reply.body) as { BackendState?: unknown; Self?: { PublicKey?: unknown } | null } | undefined;
    if (!status || typeof status.BackendState !== 'string') return failed(`${this.name} does not report its state`);
    const self = /^nodekey:(.*)$/.exec(String(status.Self?.PublicKey))?.[1];
    const key = self === undefined ? undefined : parseNodeKeyHex(self);
    return { state: status.BackendState.slice(0, 40), ...(key && { self: key }) };
  }

  private async get(what: string, signal: AbortSignal): Promise<Reply | Failed> {
    const { socket, uptime = () => process.uptime() * 1000 } = this.options;
    const options = {
      path: `/localapi/v0/${what}`,
      headers: { Host: HOST, 'Tailscale-Cap': CAPABILITY },
    };
    for (;;) {
      try {
        const reply = await this.askApp(options, signal);
        return (
          reply ??
          (await ask({ options: { ...options, socketPath: socket }, agents: this.agents, limit: LIMIT, signal }))
        );
      } catch (error) {
        if (!signal.aborted && uptime() < PATIENCE) await delay(TRY_AGAIN, undefined, { signal }).catch(() => {});
        else return this.unreachable(error as NodeJS.ErrnoException, signal);
      }
    }
  }

  /** Asks the app, if there is one. `undefined` where there is none, or not any more: then the socket is asked. */
  private async askApp(options: RequestOptions, signal: AbortSignal): Promise<Reply | undefined> {
    const { app } = this.options;
    const found = await app?.find();
    if (!app || !found) return undefined;
    const { port, token } = found;
    const headers = { ...options.headers, Authorization: `Basic ${Buffer.from(`:${token}`).toString('base64')}` };
    const asked = { ...options, host: '127.0.0.1', port, headers };
    try {
      const reply = await ask({ options: asked, agents: this.agents, limit: LIMIT, signal });
      // An app that has started anew has another token.
      if (reply.status === 401 || reply.status === 403) app.forget();
      return reply;
    } catch (error) {
      if (signal.aborted) throw error;
      app.forget();
      return undefined;
    }
  }

  private unreachable(error: NodeJS.ErrnoException, signal: AbortSignal): Failed {
    if (signal.aborted) return failed(`${this.name} does not answer`, { timeout: true, unreached: true });
    const why = CASES[String(error.code)] ?? `it cannot be asked (${reasonOf(error)})`;
    return failed(`${this.name}: ${why}`, { unreached: true });
  }

  /** Describes an answer that is neither yes nor no. */
  private strange({ status, statusText, headers, body }: Reply): string {
    const said = body.trim().slice(0, 100);
    if (body.includes("invalid 'addr' parameter")) {
      return `${this.name} is too old: it has to be 1.70 or newer to be asked for node keys`;
    }
    if (status === 403)
      return `${this.name}: access denied (${said}); the relay has to run as root, or as its operator`;
    if (headers['tailscale-version'] === undefined) {
      return `${this.name}: the server there is not tailscaled (${status} ${statusText})`;
    }
    return `${this.name}: ${status} ${statusText}: ${said}`;
  }
}

const CASES: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket; tailscaled does not run, or its directory is not mounted here',
  ENOTSOCK: 'that is not a socket',
  ECONNREFUSED:
    'nothing listens there: tailscaled has ended, or has replaced its socket (then mount the directory, not the socket)',
  EACCES: 'permission denied; the relay has to be allowed to open the socket',
  ECONNRESET: 'it closes connections without an answer',
};

function isReply(reply: Reply | Failed): reply is Reply {
  return 'status' in reply;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
