/** A tailnet of its own: a real headscale, and real tailscaleds that it has registered. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TailnetBinaries } from '../../packaging/tailnet.mjs';
import { type KeyPair, keyPairOf, parsePrivateKey } from '../../src/protocol/key.js';
import { eventually } from '../helpers/wait.js';
import { threePorts } from './servers.ts';

const run = promisify(execFile);

/** How long programs may take to find each other. */
const PATIENCE = 60_000;

export interface Node {
  /** Of its LocalAPI. */
  readonly socket: string;
  /** What it is known by: a client with this key is that node. */
  readonly keys: KeyPair;
  readonly name: string;
}

export class Tailnet {
  readonly #directory = mkdtempSync(join(tmpdir(), 'derpkit-tailnet-'));
  readonly #children: ChildProcess[] = [];
  readonly #output: string[] = [];
  #url = '';

  private constructor(private readonly binaries: TailnetBinaries) {
    process.on('exit', this.#kill);
  }

  static async start(binaries: TailnetBinaries): Promise<Tailnet> {
    const tailnet = new Tailnet(binaries);
    try {
      await tailnet.#serve();
      return tailnet;
    } catch (error) {
      await tailnet.stop();
      throw new Error(`${(error as Error).message}\n${tailnet.output}`, { cause: error });
    }
  }

  /** What headscale is asked at whether a client may connect. */
  get verifyUrl(): string {
    return `${this.#url}/verify`;
  }

  get output(): string {
    return this.#output.join('').split('\n').slice(-40).join('\n');
  }

  /** Starts a tailscaled, and waits until headscale has registered it. */
  async node(name: string): Promise<Node> {
    const state = join(this.#directory, name);
    const socket = `${state}.sock`;
    const config = `${state}.json`;
    const { key } = JSON.parse(await this.#headscale('preauthkeys', 'create', '--user', '1', '-o', 'json')) as {
      key: string;
    };
    const settings = { version: 'alpha0', serverURL: this.#url, authKey: key, enabled: true, hostname: name };
    writeFileSync(config, JSON.stringify({ ...settings, locked: false }));
    const flags = { statedir: state, socket, config, port: '0', tun: 'userspace-networking' };
    const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
    this.#spawn(this.binaries.tailscaled, [...args, '--no-logs-no-support']);
    await eventually(
      async () => (await statusOf(socket))?.BackendState === 'Running',
      () => `${name} to be registered:\n${this.output}`,
      PATIENCE,
    );
    const keys = await eventually(() => keysIn(state), `the keys of ${name}`, PATIENCE);
    return { socket, keys, name };
  }

  /** Waits until a node knows another one, or does not any more. */
  async untilKnown(node: Node, other: Node, known: boolean): Promise<void> {
    const path = `/localapi/v0/whois?addr=nodekey:${Buffer.from(other.keys.publicKey, 'latin1').toString('hex')}`;
    await eventually(
      async () => (await local(node.socket, path).catch(() => undefined))?.status === (known ? 200 : 404),
      () => `${node.name} to know, or not to know, ${other.name}:\n${this.output}`,
      PATIENCE,
    );
  }

  /** Takes a node out of the tailnet. */
  async remove(node: Node): Promise<void> {
    const nodes = JSON.parse(await this.#headscale('nodes', 'list', '-o', 'json')) as { id: number; name: string }[];
    const found = nodes.find(({ name }) => name === node.name);
    if (!found) throw new Error(`headscale has no node ${node.name}`);
    await this.#headscale('nodes', 'delete', '--identifier', String(found.id), '--force');
  }

  async stop(): Promise<void> {
    process.off('exit', this.#kill);
    await Promise.all(
      this.#children.map(
        (child) =>
          new Promise<void>((resolve) => {
            if (child.exitCode !== null || child.signalCode !== null) resolve();
            child.on('close', () => resolve());
            child.kill('SIGKILL');
          }),
      ),
    );
    rmSync(this.#directory, { recursive: true, force: true });
  }

  readonly #kill = () => {
    for (const child of this.#children) child.kill('SIGKILL');
  };

  async #serve(): Promise<void> {
    const directory = this.#directory;
    const { main, http, stun } = await threePorts('127.0.0.1');
    this.#url = `http://127.0.0.1:${main}`;
    // No node reaches a relay here: what is asked for is who is in the tailnet.
    const nodes = [
      { name: '900a', regionid: 900, hostname: '127.0.0.1', ipv4: '127.0.0.1', stunport: -1, derpport: 1 },
    ];
    const map = { regions: { 900: { regionid: 900, regioncode: 'none', regionname: 'none', nodes } } };
    // JSON is YAML, but for numbers that are names.
    writeFileSync(join(directory, 'derp.yaml'), JSON.stringify(map).replace('"900":', '900: '));
    const config = {
      server_url: this.#url,
      listen_addr: `127.0.0.1:${main}`,
      metrics_listen_addr: `127.0.0.1:${http}`,
      grpc_listen_addr: `127.0.0.1:${stun}`,
      grpc_allow_insecure: true,
      noise: { private_key_path: join(directory, 'noise.key') },
      prefixes: { v4: '100.64.0.0/10', v6: 'fd7a:115c:a1e0::/48', allocation: 'sequential' },
      derp: { server: { enabled: false }, urls: [], paths: [join(directory, 'derp.yaml')], auto_update_enabled: false },
      disable_check_updates: true,
      database: { type: 'sqlite', sqlite: { path: join(directory, 'db.sqlite') } },
      log: { level: 'info', format: 'text' },
      dns: { magic_dns: false, override_local_dns: false, base_domain: 'tail.test', nameservers: { global: [] } },
      unix_socket: join(directory, 'headscale.sock'),
      unix_socket_permission: '0770',
      policy: { mode: 'database' },
    };
    writeFileSync(join(directory, 'config.yaml'), JSON.stringify(config));
    this.#spawn(this.binaries.headscale, ['-c', join(directory, 'config.yaml'), 'serve']);
    await eventually(
      () =>
        this.#headscale('users', 'create', 'test').then(
          () => true,
          () => false,
        ),
      () => `headscale:\n${this.output}`,
      PATIENCE,
    );
  }

  async #headscale(...args: readonly string[]): Promise<string> {
    const { stdout } = await run(this.binaries.headscale, ['-c', join(this.#directory, 'config.yaml'), ...args]);
    return stdout;
  }

  #spawn(program: string, args: readonly string[]): void {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.push(child);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => this.#output.push(text));
    }
    child.on('error', (error) => this.#output.push(`${error.message}\n`));
  }
}

/** The node's own keys, as tailscaled keeps them. */
function keysIn(state: string): KeyPair | undefined {
  const file = readdirSync(state).find((name) => name === 'tailscaled.state');
  if (file === undefined) return undefined;
  const entries = JSON.parse(readFileSync(join(state, file), 'utf8')) as Record<string, string>;
  for (const [name, value] of Object.entries(entries)) {
    if (!name.startsWith('profile-')) continue;
    const text = Buffer.from(value, 'base64').toString();
    const bytes = parsePrivateKey(/"PrivateNodeKey":\s*"(privkey:[0-9a-f]{64})"/.exec(text)?.[1] ?? '');
    if (bytes) return keyPairOf(bytes);
  }
  return undefined;
}

async function statusOf(socket: string): Promise<{ BackendState?: string } | undefined> {
  try {
    return JSON.parse((await local(socket, '/localapi/v0/status?peers=false')).body) as { BackendState?: string };
  } catch {
    return undefined;
  }
}

function local(socketPath: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, headers: { Host: 'local-tailscaled.sock' }, agent: false }, (answer) => {
      let body = '';
      answer.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }));
    });
    asked.on('error', reject);
    asked.end();
  });
}
