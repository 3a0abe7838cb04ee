/** One run: starts a fresh relay, runs the load generator against it, and returns the report. */
import { randomBytes, X509Certificate } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { selfSignedCertificate } from '../control/x509.js';
import { type Command, type Contender, HOSTNAME, type Place } from './contenders.js';
import type { Report } from './figures.js';
import { listensIn, NarrowPlace } from './narrow-link.js';
import { freePort } from './ports.js';
import { listening, type Started, start, type Tools, until } from './processes.js';
import type { Scenario } from './scenarios.js';

/** Milliseconds for what surrounds the measured window: logins, warm-up, packets still on their way. */
const PATIENCE = 240_000;
/** Seconds after which burners end by themselves. */
const BURN = 300;

export interface Cores {
  readonly relay: string;
  readonly generator: string;
}

/** The directory and files of runs; removed by `close`. */
export class Stage {
  readonly #folder = mkdtempSync(join(tmpdir(), 'derpkit-bench-'));
  readonly #certificate = join(this.#folder, `${HOSTNAME}.crt`);
  readonly #running = new Set<Started>();
  #narrow: NarrowPlace | undefined;
  #closed = false;
  #count = 0;

  constructor(
    readonly generator: string,
    readonly tools: Tools,
    /** Absent if relay and generator cannot have separate cores. */
    readonly cores: Cores | undefined,
    readonly stunAddress: string | undefined,
  ) {
    // ECDSA, as certificate authorities issue by default now.
    const { der, privateKey } = selfSignedCertificate([HOSTNAME], 1, new Date());
    writeFileSync(this.#certificate, new X509Certificate(der).toString());
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
    writeFileSync(join(this.#folder, `${HOSTNAME}.key`), key, { mode: 0o600 });
  }

  /** Measures one scenario. Rejects if there is no report, with the last output of the process that failed. */
  async measure(contender: Contender, scenario: Scenario, workers?: number): Promise<Report> {
    const tls = scenario.transport === 'tls' && !contender.inTheClear;
    const args = [...scenario.args, '--json'];
    const begun: Started[] = [];
    try {
      const cores = workers === undefined ? this.cores?.relay : undefined;
      if (contender.command && scenario.family === 'mesh') {
        const places = await this.#meshed(scenario);
        const relays = places.map((place) =>
          this.#start((contender.command as (place: Place) => Command)(place), cores),
        );
        begun.push(...relays);
        for (const [index, { port }] of places.entries()) await listening(relays[index] as Started, port);
        const [here, there] = places.map(({ port }) => `127.0.0.1:${port}`) as [string, string];
        const [pid, other] = relays.map((relay) => String(relay.pid)) as [string, string];
        args.push('--target', here, '--pid', pid, '--target-b', there, '--pid-b', other);
        if (tls) args.push('--tls', '--pin', this.#certificate);
      } else if (contender.command && scenario.link) {
        const narrow = new NarrowPlace(scenario.link);
        this.#narrow = narrow;
        const place = { ...(await this.#place(scenario, workers)), host: '0.0.0.0' };
        const relay = this.#start(narrow.beRelay(contender.command(place)), cores);
        begun.push(relay);
        await until(relay, () => listensIn(relay.pid, place.port));
        args.push('--target', `${narrow.wide}:${place.port}`, '--receiver', `${narrow.narrow}:${place.port}`);
        args.push('--pid', String(relay.pid));
        if (tls) args.push('--tls', '--pin', this.#certificate);
      } else if (contender.command) {
        const place = await this.#place(scenario, workers);
        const relay = this.#start(contender.command(place), cores);
        begun.push(relay);
        await listening(relay, place.port);
        args.push('--target', `127.0.0.1:${place.port}`, '--pid', String(relay.pid));
        if (place.stunPort !== undefined) args.push('--stun', `127.0.0.1:${place.stunPort}`);
        if (tls) args.push('--tls', '--pin', this.#certificate);
      } else if (contender.address) {
        const { host, port } = contender.address;
        args.push('--target', socketAddress(await lookup(host), port));
        if (contender.pid !== undefined) args.push('--pid', String(contender.pid));
        if (scenario.family === 'stun' && this.stunAddress) args.push('--stun', this.stunAddress);
        if (tls) args.push('--tls');
      }
      if (scenario.burners) {
        const { argv } = burn(this.generator, scenario.burners);
        const burner = this.#start({ argv }, cores);
        begun.push(burner);
        args.push('--beside', String(burner.pid));
      }
      return await this.#generate(args);
    } catch (error) {
      const words = begun.map(({ words }) => words.trim()).filter((words) => words !== '');
      throw new Error([(error as Error).message, ...words].join('\n'));
    } finally {
      for (const started of begun.reverse()) await this.#stop(started);
      this.#narrow?.close();
      this.#narrow = undefined;
    }
  }

  async #generate(args: readonly string[]): Promise<Report> {
    const command: Command = { argv: [this.generator, ...args] };
    const generator = this.#start(this.#narrow?.beGenerator(command) ?? command, this.cores?.generator);
    const impatience = setTimeout(() => void generator.stop(), PATIENCE);
    const { stdout } = await generator.ended;
    clearTimeout(impatience);
    this.#running.delete(generator);
    try {
      return JSON.parse(stdout) as Report;
    } catch {
      throw new Error(generator.words.trim() || 'the generator was ended');
    }
  }

  async #place(scenario: Scenario, workers: number | undefined): Promise<Place> {
    this.#count += 1;
    return {
      port: await freePort(),
      keyFile: join(this.#folder, `${this.#count}.key`),
      ...(scenario.family === 'stun' && { stunPort: await freePort() }),
      ...(scenario.transport === 'tls' && { certDir: this.#folder }),
      ...(workers !== undefined && { workers }),
    };
  }

  /** Two relays that mesh with each other, under one name and certificate. */
  async #meshed(scenario: Scenario): Promise<readonly [Place, Place]> {
    const [here, there] = [await this.#place(scenario, undefined), await this.#place(scenario, undefined)];
    const keyFile = join(this.#folder, 'mesh.key');
    writeFileSync(keyFile, randomBytes(32).toString('hex'), { mode: 0o600 });
    const mesh = { keyFile, authority: this.#certificate };
    return [
      { ...here, mesh: { ...mesh, port: there.port } },
      { ...there, mesh: { ...mesh, port: here.port } },
    ];
  }

  #start(command: Parameters<typeof start>[0], cores: string | undefined): Started {
    if (this.#closed) throw new Error('it was interrupted');
    const started = start(command, cores, this.tools);
    this.#running.add(started);
    return started;
  }

  async #stop(started: Started): Promise<void> {
    await started.stop();
    this.#running.delete(started);
  }

  /** Ends every process at once; a measurement in progress rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#running].map((started) => started.stop()));
    this.#narrow?.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function burn(generator: string, threads: number): { argv: [string, ...string[]] } {
  return { argv: [generator, 'burn', '--threads', String(threads), '--seconds', String(BURN)] };
}

function socketAddress({ address, family }: { address: string; family: number }, port: number): string {
  return family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}
