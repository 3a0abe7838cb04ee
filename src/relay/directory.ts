import type { Settings } from '../config.js';
import type { Directory, RelayLoad } from '../control/directory/directory.js';
import { NatsDirectory } from '../control/directory/nats-directory.js';
import type { Barrier } from '../faults/barrier.js';
import type { Logger } from '../logger.js';
import type { NodeKey } from '../protocol/key.js';
import { VERSION } from '../version.js';
import { digestOf, fleetSettings } from './fleet-settings.js';

/** What the directory says of this relay. */
export interface DirectoryParts {
  readonly settings: Settings;
  /** The settings in force, which a reload changes. */
  current(): Settings;
  readonly ownKey: NodeKey;
  readonly meshKey: string;
  /** The port of the relay's listener. */
  port(): number;
  load(): RelayLoad;
  readonly logger: Logger;
  readonly barrier: Barrier;
}

/** What there is to say at the start about settings of NATS. */
export function natsWarnings({ nats, certMode, mesh: { mode, discover, advertise } }: Settings): string[] {
  if (nats.servers.length === 0) return [];
  if (mode === 'on-demand' || discover.some((source) => source.nats)) {
    if (certMode !== 'off' || advertise.port !== undefined) return [];
    return [
      'mesh.advertise.port: other relays dial over TLS, and this one serves plain HTTP (certMode is off): they reach it only if ' +
        'a proxy takes TLS for it at port 443, or at the port that this setting names',
    ];
  }
  return [
    'nats.servers has no effect: mesh.mode is full, and no source of mesh.discover is nats; set mesh.mode to on-demand, or ' +
      'add {"nats": true} to mesh.discover',
  ];
}

/** The directory of the region in NATS. It connects when it is started. */
export function natsDirectory(parts: DirectoryParts): Directory {
  const { settings, ownKey, meshKey, port, load, logger, barrier, current } = parts;
  const { mesh, nats, hostname } = settings;
  return new NatsDirectory({
    relay: ownKey,
    meshKey,
    region: mesh.region,
    servers: nats.servers,
    credsFile: nats.credsFile,
    caFile: nats.tls.caFile,
    facts: () => ({
      address: mesh.advertise.address,
      port: mesh.advertise.port ?? port(),
      tlsName: mesh.advertise.tlsName ?? hostname,
      version: VERSION,
      load: load(),
      settings: digestOf(current()),
    }),
    settings: () => fleetSettings(current()),
    log: (level, facts, text) => logger[level](facts, text),
    barrier,
  });
}
