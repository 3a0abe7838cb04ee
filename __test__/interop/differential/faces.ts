/** The relays of the differential run: each implementation with the same flags, once for every face that a client can meet. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Target } from '../../helpers/wire.js';
import { SERVER_NAME, type Workspace } from '../scenarios.ts';
import { Relay, type RelayOptions } from '../servers.ts';
import { type VerifiedFace, Verifiers } from './verifiers.ts';

/** What runs: derper, and derpkit with each of its planes. */
export type Side = 'derper' | 'js' | 'native';

/** Where a case connects to. `port80` is the plain one beside `tls`. */
export type Face = 'tls' | 'port80' | 'plain' | 'blank' | 'redirect' | 'disabled' | VerifiedFace;

const HOME = 'https://example.com/about?x=1';
const DEBUG_KEY = 'open-sesame';

const FLAGS: Readonly<Record<Exclude<Face, 'port80' | VerifiedFace>, readonly string[]>> = {
  tls: ['-disallow-app-names', 'banned'],
  plain: ['-bootstrap-dns-names', 'localhost', '-unpublished-bootstrap-dns-names', 'hidden.invalid'],
  blank: ['-home', 'blank'],
  redirect: ['-home', HOME],
  disabled: ['-derp=false'],
};

/** Only the relays with TLS have the name that all are asked for as their host name. */
function ours(plane: Side): NodeJS.ProcessEnv {
  return { DERPKIT_PLANE: plane, DERPKIT_DEBUG_HOSTS: SERVER_NAME };
}

/** The relays of one side, started when a case first asks for them. */
export class Faces {
  readonly #relays = new Map<string, Promise<Relay>>();
  /** What the faces that ask are told. */
  readonly verifiers = new Verifiers();

  constructor(
    readonly side: Side,
    private readonly workspace: Workspace,
    /** The only version of TLS that its clients speak, if not whatever Node's do. */
    private readonly tls?: 'TLSv1.2',
  ) {}

  relay(face: Face): Promise<Relay> {
    const name = face === 'port80' ? 'tls' : face;
    const running = this.#relays.get(name) ?? this.start(name);
    this.#relays.set(name, running);
    return running;
  }

  async target(face: Face): Promise<Target> {
    const relay = await this.relay(face);
    if (face === 'port80') return { host: relay.address, port: relay.httpPort };
    return {
      host: relay.address,
      port: relay.port,
      ...(face === 'tls' && { tls: { servername: SERVER_NAME, ...(this.tls && { maxVersion: this.tls }) } }),
    };
  }

  async stop(): Promise<void> {
    const relays = await Promise.allSettled(this.#relays.values());
    await Promise.all(relays.map((relay) => relay.status === 'fulfilled' && relay.value.stop()));
    await this.verifiers.stop();
  }

  private async start(face: Exclude<Face, 'port80'>): Promise<Relay> {
    const { directory, peers } = this.workspace;
    const verified = face in FLAGS ? undefined : await this.verifiers.start(face as VerifiedFace);
    const debugKey = join(directory, 'debug.key');
    mkdirSync(directory, { recursive: true });
    writeFileSync(debugKey, `${DEBUG_KEY}\n`);
    const options: RelayOptions = {
      directory,
      name: `differential-${this.side}${this.tls ?? ''}-${face}`,
      address: '127.0.0.1',
      ...(face === 'tls' && { hostname: SERVER_NAME, httpPort: true }),
      flags: verified?.flags ?? FLAGS[face as keyof typeof FLAGS],
      env: {
        ...verified?.env,
        TS_DEBUG_KEY_PATH: debugKey,
        ...(this.side !== 'derper' && ours(this.side)),
      },
    };
    return Relay.start(this.side === 'derper' ? 'derper' : 'derpkit', peers, options);
  }
}
