/** Relays that get their certificates from pebble, in this process. */
import type { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import type { RelayConfig } from '../../src/config.js';
import type { Lane } from '../helpers/lanes.js';
import { startRelay, type TestRelay, type TestRelayOptions } from '../helpers/relay.js';
import { Wire } from '../helpers/wire.js';
import { Pebble, type PebbleOptions } from './pebble.ts';
import { type Ports, threePorts } from './servers.ts';

export const DAY = 24 * 60 * 60 * 1000;
export const NAME = 'relay.example.com';

/** The certificate authority of a file of tests, and the ports that it comes to. */
export class Authority {
  ports: Ports = { main: 0, http: 0, stun: 0 };
  private started: Pebble | undefined;

  /** Starts before the tests of a file, and ends behind them. */
  static forThisFile(options: Partial<PebbleOptions> = {}): Authority {
    const authority = new Authority();
    const { NODE_EXTRA_CA_CERTS } = process.env;
    beforeAll(async () => {
      authority.ports = await threePorts('127.0.0.1');
      authority.started = await authority.start(options);
    });
    afterAll(() => {
      authority.started?.stop();
      process.env.NODE_EXTRA_CA_CERTS = NODE_EXTRA_CA_CERTS;
    });
    return authority;
  }

  get pebble(): Pebble {
    if (!this.started) throw new Error('pebble has not started');
    return this.started;
  }

  /** Another pebble, which is trusted from now on, and ends with the test. */
  async another(options: Partial<PebbleOptions>): Promise<Pebble> {
    const started = await this.start(options);
    onTestFinished(() => {
      started.stop();
      process.env.NODE_EXTRA_CA_CERTS = this.pebble.caFile;
    });
    return started;
  }

  relay(lane: Lane, certDir: string, config: RelayConfig = {}, options: TestRelayOptions = {}): Promise<TestRelay> {
    const { ports } = this;
    return startRelay(lane, {
      ...options,
      config: {
        certificate: undefined,
        listen: `127.0.0.1:${ports.main}`,
        httpPort: ports.http,
        certMode: 'acme',
        certDir,
        hostname: NAME,
        ...config,
        acme: { directory: this.pebble.directory, agreeTerms: true, profile: 'default', ...config.acme },
      },
    });
  }

  private async start(options: Partial<PebbleOptions>): Promise<Pebble> {
    const started = await Pebble.start({ httpPort: this.ports.http, tlsPort: this.ports.main, ...options });
    process.env.NODE_EXTRA_CA_CERTS = started.caFile;
    return started;
  }
}

/** A directory that goes with the test. */
export function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-acme-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** The certificate that a client of this name is shown. */
export async function shown(relay: TestRelay, servername = NAME): Promise<X509Certificate> {
  const wire = await Wire.open(relay.target({ servername }));
  const certificate = wire.tlsSocket.getPeerX509Certificate();
  await wire.destroy();
  return certificate as X509Certificate;
}

export function read(directory: string, name: string): string | undefined {
  try {
    return readFileSync(join(directory, name), 'utf8');
  } catch {
    return undefined;
  }
}

export function getHttp(
  port: number,
  path: string,
  host: string,
  address = '127.0.0.1',
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const options = { host: address, port, path, headers: { Host: host }, agent: false };
    get(options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    }).on('error', reject);
  });
}
