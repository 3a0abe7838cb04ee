/**
 * The compose file of the fleet as processes of this machine: relays, HAProxy, NATS if it is given, and a DNS server, on loopback
 * addresses.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DnsServer } from '../dns-server.mjs';
import { root } from '../ensure.mjs';
import { readFleet } from './compose-file.mjs';

/** The network of the file, and where its addresses are here. All of 127.0.0.0/8 is this machine, on Linux. */
const NETWORK = '172.31.250.';
export const HOSTNAME = 'derp.test';

/** Why no fleet can run here; undefined if it can. */
export function whyNoFleet() {
  if (process.platform !== 'linux') return 'a fleet takes the loopback addresses of Linux';
  const { error } = spawnSync(haproxy(), ['-v']);
  return error ? 'haproxy is not installed; apt-get install haproxy' : undefined;
}

/** Debian has it in a directory that is not in the path of every user. */
function haproxy() {
  return ['/usr/sbin/haproxy', '/usr/local/sbin/haproxy'].find(existsSync) ?? 'haproxy';
}

export class Fleet {
  #directory = mkdtempSync(join(tmpdir(), 'derpkit-fleet-'));
  #children = new Map();
  #variables = { DERP_HOSTNAME: HOSTNAME, DERP_CERTS: join(this.#directory, 'certs') };
  #file = readFleet(this.#variables);
  #here;
  #env;
  #nats;
  #dns;
  /** The port of HAProxy, where clients come. */
  port = 0;
  /** Each line of each process, as `name` and `text`. */
  #stopping = new WeakSet();
  #lastLines = new Map();
  onLine = () => {};
  /** A process has ended that was not stopped. */
  onEnd = () => {};

  /**
   * `network`: the first three bytes of loopback addresses, with a dot behind; of every fleet another. `env`: for relays. `nats`:
   * the path of nats-server; without it the relays know nothing of NATS.
   */
  constructor(network = '127.31.250.', env = {}, nats = undefined) {
    this.#here = network;
    this.#env = env;
    this.#nats = nats;
  }

  /** Starts the DNS server, all relays but some, and HAProxy. */
  async start(without = []) {
    mkdirSync(this.#variables.DERP_CERTS);
    await this.#makeCertificate();
    writeFileSync(this.meshKeyFile, `${randomBytes(32).toString('hex')}\n`);
    this.#dns = await DnsServer.start();
    this.#tellAddresses();
    if (this.hasNats) this.startNats();
    for (const { name } of this.relays) if (!without.includes(name)) this.startRelay(name);
    this.port = await freePort();
    await this.#startHaproxy();
  }

  /** The relays of the file. */
  get relays() {
    return this.#file.services.filter(({ environment }) => environment.DERPKIT_HOSTNAME !== undefined);
  }

  get hasNats() {
    return this.#nats !== undefined;
  }

  get dns() {
    return this.#dns;
  }

  /** The certificate of all relays, which signs itself. */
  get authority() {
    return join(this.#variables.DERP_CERTS, `${HOSTNAME}.crt`);
  }

  get meshKeyFile() {
    return join(this.#directory, 'mesh.key');
  }

  addressOf(name) {
    return this.#here + this.#file.services.find((service) => service.name === name).address.slice(NETWORK.length);
  }

  isRunning(name) {
    return this.#children.has(name);
  }

  /** Starts a relay of the file, with more variables; `command` runs another program in its place. */
  startRelay(name, more = {}, command = undefined) {
    const { environment } = this.relays.find((relay) => relay.name === name);
    const here = (value) =>
      this.#placed(value).replace('"name": "relays"', `"name": "relays", "server": "${this.#dns.address}"`);
    const env = Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, here(value)]));
    // NATS sees every relay at one address of this machine.
    if (this.hasNats) env.DERPKIT_MESH_ADVERTISE_ADDRESS = this.addressOf(name);
    else withoutNats(env);
    const data = join(this.#directory, name);
    const own = {
      // What the image sets.
      DERPKIT_LISTEN: `${this.addressOf(name)}:8443`,
      DERPKIT_HTTP_PORT: '8080',
      DERPKIT_STUN_PORT: '3478',
      DERPKIT_DATA_DIR: data,
    };
    const { PATH = '', HOME = '' } = process.env;
    this.#spawn(name, command ?? [process.execPath, join(root, 'dist/cli/derpkit.js'), 'serve'], {
      ...{ PATH, HOME, SSL_CERT_DIR: '/nonexistent', SSL_CERT_FILE: this.authority },
      ...env,
      ...own,
      ...this.#env,
      ...more,
    });
  }

  /** Sends a signal, and waits for the end. */
  async stop(name, signal = 'SIGTERM') {
    const child = this.#children.get(name);
    if (!child) return undefined;
    const ended = once(child, 'close');
    this.#stopping.add(child);
    child.kill(signal);
    const [code] = await ended;
    return code;
  }

  /** Sends a signal that does not end: SIGSTOP, SIGCONT. */
  signal(name, signal) {
    this.#children.get(name)?.kill(signal);
  }

  startNats() {
    const { configs, address } = this.#file.services.find(({ name }) => name === 'nats');
    const config = join(this.#directory, 'nats.conf');
    const text = this.#file.configs[configs[0].source];
    writeFileSync(config, text.replace('0.0.0.0', this.#placed(address)));
    this.#spawn('nats', [this.#nats, '--config', config], {});
  }

  startHaproxy() {
    return this.#startHaproxy();
  }

  /** What a relay says about its links and sources: rows of /debug/varz by name and labels. */
  async figures(name) {
    const text = await get(this.addressOf(name), '/debug/varz');
    return new Map(
      [...text.matchAll(/^([a-z]\S*(?:\{.*\})?) (-?[\d.e+]+)$/gm)].map(([, row, value]) => [row, Number(value)]),
    );
  }

  /** Ends every process, and removes every file. */
  async close() {
    await Promise.all([...this.#children.keys()].map((name) => this.stop(name, 'SIGKILL')));
    await this.#dns?.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** The last line that a process has written. */
  lastLine(name) {
    return this.#lastLines.get(name);
  }

  #tellAddresses() {
    for (const alias of new Set(this.relays.flatMap(({ aliases }) => aliases))) {
      const names = this.relays.filter(({ aliases }) => aliases.includes(alias));
      this.#dns.set(
        alias,
        names.map(({ name }) => this.addressOf(name)),
        1,
      );
    }
  }

  /** A text of the file with the places of this machine. */
  #placed(text) {
    const { DERP_CERTS } = this.#variables;
    return String(text)
      .replaceAll(NETWORK, this.#here)
      .replaceAll('/run/secrets/mesh-key', this.meshKeyFile)
      .replaceAll('/certs', DERP_CERTS);
  }

  async #startHaproxy() {
    const { configs } = this.#file.services.find(({ name }) => name === 'haproxy');
    const text = this.#placed(this.#file.configs[configs[0].source])
      .replace('bind :8443', `bind 127.0.0.1:${this.port}`)
      .replace('bind :8080', `bind 127.0.0.1:${await freePort()}`);
    const config = join(this.#directory, 'haproxy.cfg');
    writeFileSync(config, text);
    const { status, stderr } = spawnSync(haproxy(), ['-c', '-f', config], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`HAProxy refuses its settings: ${stderr}`);
    this.#spawn('haproxy', [haproxy(), '-db', '-f', config], { PATH: process.env.PATH ?? '' });
  }

  #spawn(name, [program, ...args], env) {
    // In a group of its own: Ctrl-C is for the program that shows the fleet, which ends the others.
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.#children.set(name, child);
    child.on('error', (error) => this.onLine(name, error.message));
    child.on('close', (code) => {
      if (this.#children.get(name) !== child) return;
      this.#children.delete(name);
      if (!this.#stopping.has(child)) this.onEnd(name, code);
    });
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream.setEncoding('utf8').on('data', (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        for (const line of lines) {
          this.#lastLines.set(name, line);
          this.onLine(name, line);
        }
      });
    }
  }

  async #makeCertificate() {
    const { selfSignedCertificate } = await import(join(root, 'dist/control/x509.js'));
    const { der, privateKey } = selfSignedCertificate([HOSTNAME], 7, new Date());
    const base64 = Buffer.from(der)
      .toString('base64')
      .replace(/.{64}(?=.)/g, '$&\n');
    writeFileSync(this.authority, `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`);
    writeFileSync(this.authority.replace(/crt$/, 'key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  }
}

/** What the head of the compose file says of a fleet without NATS. */
function withoutNats(env) {
  const sources = JSON.parse(env.DERPKIT_MESH_DISCOVER).filter(({ nats }) => !nats);
  env.DERPKIT_MESH_DISCOVER = JSON.stringify(sources);
  delete env.DERPKIT_NATS_SERVERS;
}

/** A page of a relay, asked from this machine, which may see /debug/. */
function get(host, path) {
  return new Promise((resolve, reject) => {
    const options = {
      host,
      port: 8443,
      path,
      servername: HOSTNAME,
      rejectUnauthorized: false,
      agent: false,
      timeout: 5_000,
    };
    const asked = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve(text));
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', reject);
    asked.end();
  });
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
