/** A certificate authority of our own: pebble, with the DNS server that it asks, for relays on loopback. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildPebble } from '../../packaging/peers.mjs';
import { pemPair } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { threePorts } from './servers.ts';

export interface PebbleOptions {
  /** Where names and addresses are shown to be ours. */
  readonly httpPort: number;
  readonly tlsPort: number;
  /** Whether accounts need an external one; its key id is `kid-1`. */
  readonly eab?: boolean;
  /** Variables for pebble, such as `PEBBLE_WFE_NONCEREJECT`. */
  readonly env?: NodeJS.ProcessEnv;
  /** Lifetime of certificates by the profile `default`, in seconds. */
  readonly lifetime?: number;
  /** What every name resolves to; 127.0.0.1 if not given. */
  readonly address?: string;
  /** Where pebble listens; free ports if not given. */
  readonly port?: number;
}

export const EAB_KEY = 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W';

export class Pebble {
  private readonly output: string[] = [];

  private constructor(
    readonly directory: string,
    /** The certificate that pebble's own HTTPS is trusted by. */
    readonly caFile: string,
    private readonly management: number,
    private readonly dnsManagement: number,
    private readonly folder: string,
    private readonly children: readonly ChildProcess[],
  ) {
    for (const { stdout, stderr } of children) {
      for (const stream of [stdout, stderr]) stream?.setEncoding('utf8').on('data', (text) => this.output.push(text));
    }
  }

  static async start({
    httpPort,
    tlsPort,
    eab,
    env,
    lifetime = 7_776_000,
    port,
    address,
  }: PebbleOptions): Promise<Pebble> {
    const programs = await buildPebble();
    const folder = mkdtempSync(join(tmpdir(), 'derpkit-pebble-'));
    const [ports, more] = [await threePorts('127.0.0.1'), await threePorts('127.0.0.1')];
    const listen = port ?? ports.main;
    const { chain, key } = pemPair(['localhost', '127.0.0.1']);
    const file = (name: string, text: string) => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const caFile = file('ca.pem', chain);
    const config = file(
      'config.json',
      JSON.stringify({
        pebble: {
          listenAddress: `127.0.0.1:${listen}`,
          managementListenAddress: `127.0.0.1:${ports.http}`,
          certificate: caFile,
          privateKey: file('key.pem', key),
          httpPort,
          tlsPort,
          ocspResponderURL: '',
          externalAccountBindingRequired: eab === true,
          externalAccountMACKeys: { 'kid-1': EAB_KEY },
          domainBlocklist: ['blocked.example.com'],
          retryAfter: { authz: 1, order: 1 },
          keyAlgorithm: 'ecdsa',
          profiles: {
            default: { description: 'default', validityPeriod: lifetime },
            shortlived: { description: 'short-lived', validityPeriod: 576_000 },
          },
        },
      }),
    );
    const dnsArgs = ['-dnsserver', `127.0.0.1:${more.main}`, '-management', `127.0.0.1:${more.http}`];
    if (address) dnsArgs.push('-defaultIPv4', address);
    const none = ['-http01', '', '-https01', '', '-tlsalpn01', '', '-doh', '', '-defaultIPv6', ''];
    const dns = spawn(programs.dns, [...dnsArgs, ...none], { stdio: ['ignore', 'pipe', 'pipe'] });
    const pebble = spawn(programs.pebble, ['-config', config, '-dnsserver', `127.0.0.1:${more.main}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0', ...env },
    });
    const started = new Pebble(`https://127.0.0.1:${listen}/dir`, caFile, ports.http, more.http, folder, [dns, pebble]);
    try {
      await eventually(
        () =>
          started.ask('GET', `https://127.0.0.1:${listen}/dir`).then(
            () => true,
            () => false,
          ),
        () => `pebble to answer\n${started.log}`,
      );
    } catch (error) {
      started.stop();
      throw error;
    }
    return started;
  }

  get log(): string {
    return this.output.join('');
  }

  /** How many orders were made. */
  get orders(): number {
    return [...this.log.matchAll(/Added order /g)].length;
  }

  /** How many accounts there are. */
  get accounts(): number {
    return Number([...this.log.matchAll(/There are now (\d+) accounts/g)].at(-1)?.[1] ?? 0);
  }

  get validatedOverHttp(): number {
    return [...this.log.matchAll(/validate w\/ HTTP/g)].length;
  }

  /** The root that pebble's certificates lead to. */
  root(): Promise<string> {
    return this.ask('GET', `https://127.0.0.1:${this.management}/roots/0`);
  }

  /** Sets or removes a TXT record: what a hook for DNS-01 does. */
  async txt(action: 'present' | 'cleanup', name: string, value: string): Promise<void> {
    const path = action === 'present' ? 'set-txt' : 'clear-txt';
    await fetch(`http://127.0.0.1:${this.dnsManagement}/${path}`, {
      method: 'POST',
      body: JSON.stringify({ host: `${name}.`, value }),
    });
  }

  /** The URL by which a command can set records. */
  get dnsUrl(): string {
    return `http://127.0.0.1:${this.dnsManagement}`;
  }

  /** Says when a certificate is to be renewed. */
  async suggest(certificate: string, start: Date, end: Date): Promise<void> {
    const window = { start: start.toISOString(), end: end.toISOString() };
    const body = JSON.stringify({
      certificate,
      ariResponse: JSON.stringify({ suggestedWindow: window, explanationURL: 'https://example.com/why' }),
    });
    await this.ask('POST', `https://127.0.0.1:${this.management}/set-renewal-info/`, body);
  }

  stop(): void {
    for (const child of this.children) child.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }

  private ask(method: string, url: string, body = ''): Promise<string> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        url,
        { method, headers: { 'User-Agent': 'test' }, ca: readFileSync(this.caFile) },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => {
            text += chunk;
          });
          response.on('end', () => {
            if (response.statusCode === 200) resolve(text);
            else reject(new Error(`${url}: ${response.statusCode}: ${text}`));
          });
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }
}
