/** The settings of the mesh that find other relays. */
import { isIP } from 'node:net';
import { z } from 'zod';
import type { Problem } from '../errors.js';
import { parseAddress } from '../protocol/host-port.js';
import { parseNatsServer } from '../protocol/nats-server.js';
import { group } from './groups.js';
import { bad, duration, hostname, list, objects, path, text, whole } from './values.js';

const SOURCES = 'must be a list of objects, each with dns, srv, file or nats';
const ONE_OF = 'must be an object with one of dns, srv, file and nats';
const DNS = 'must be an object of name, port, tlsName and server';
const SRV = 'must be a name, or an object of name, tlsName and server';
const NAME = 'must be a DNS name';
const PORT = 'must be a port from 1 to 65535';
const REGION = 'must be a word of up to 64 letters, digits, - and _';
const NATS = 'must be servers of NATS as host, host:port, nats://… or tls://…, separated by commas';
const SERVER = 'must be the address of a DNS server, with a port unless that is 53: 10.0.0.2, 127.0.0.1:8600, [::1]:53';

const dnsName = text(NAME).refine((name) => hostname.safeParse(name).success && isIP(name) === 0, NAME);

const server = text(SERVER).transform((given, context) => {
  const address = parseAddress(given);
  if (isIP(given) === 0 && !(address?.port && isIP(address.host) !== 0)) return bad(context, SERVER);
  return given;
});

const dns = z.strictObject(
  {
    name: dnsName,
    port: whole(1, 65535, PORT).default(443),
    tlsName: hostname.optional(),
    server: server.optional(),
  },
  DNS,
);

const srv = z.union(
  [
    dnsName.transform((name) => ({ name, tlsName: undefined, server: undefined })),
    z.strictObject({ name: dnsName, tlsName: hostname.optional(), server: server.optional() }),
  ],
  SRV,
);

const source = z
  .strictObject(
    {
      dns: dns.optional(),
      srv: srv.optional(),
      file: path.optional(),
      nats: z.literal(true, 'must be true').optional(),
    },
    SOURCES,
  )
  .refine((given) => Object.values(given).filter((one) => one !== undefined).length === 1, ONE_OF);

/** A source of relays. Exactly one of the fields is there. */
export type DiscoverSource = z.output<typeof source>;

export const mesh = group({
  discover: objects(source, SOURCES)
    .default([])
    .describe('where relays to mesh with are found: dns, srv, file or nats'),
  mode: z
    .enum(['full', 'on-demand'], 'must be full or on-demand')
    .default('full')
    .describe('full, or on-demand: NATS finds keys when clients ask'),
  idle: duration.prefault('5m').describe('how long an idle link on demand stays'),
  region: text(REGION)
    .regex(/^[\w-]{1,64}$/, REGION)
    .default('default')
    .describe('name of the region: its relays find each other in NATS'),
  advertise: group({
    address: hostname.optional().describe('where other relays dial this one (default: its address as NATS sees it)'),
    port: whole(1, 65535, PORT).optional().describe('port at which they dial it (default: that of the relay itself)'),
    tlsName: hostname.optional().describe('name that its certificate covers (default: the host name)'),
  }),
  drainDelay: duration.prefault('2s').describe('how long SIGTERM waits, so that clients come no more'),
});

export const nats = group({
  servers: list(NATS)
    .transform((entries, context) => {
      const servers = entries.filter((entry) => entry !== '').map(parseNatsServer);
      return servers.every((server) => server !== undefined) ? servers : bad(context, NATS);
    })
    .prefault([])
    .describe('servers of NATS, separated by commas: host[:port], nats://user:password@host or tls://host'),
  credsFile: path.optional().describe('file with the credentials of a user of NATS'),
  tls: group({
    caFile: path.optional().describe('file with the authorities of the certificates of NATS, in PEM'),
  }),
});

/** Problems of sources that need NATS. */
export function sourceProblems({ discover = [], mode }: z.output<typeof mesh>, servers: readonly unknown[]): Problem[] {
  const count = discover.filter((one) => one.nats).length;
  const path = 'mesh.discover';
  if (count > 1) return [{ path, message: 'only one source can be nats' }];
  if (count === 1 && servers.length === 0) return [{ path, message: 'the source nats needs nats.servers' }];
  const isIdle = count === 1 && (mode as string) !== 'full';
  return isIdle
    ? [{ path, message: `the source nats is for the mode full: ${mode} finds relays in NATS by itself` }]
    : [];
}

/** Problems of the settings of NATS that are valid alone, but not together. */
export function natsProblems(given: z.output<typeof nats>): Problem[] {
  const { servers = [], credsFile, tls } = given;
  const needed = { credsFile, 'tls.caFile': tls?.caFile };
  const idle = Object.entries(needed).filter(([, value]) => value !== undefined && servers.length === 0);
  const problems = idle.map(([name]) => ({ path: `nats.${name}`, message: 'needs nats.servers' }));
  const hasName = servers.some(({ user, token }) => user !== undefined || token !== undefined);
  if (credsFile === undefined || !hasName) return problems;
  return [...problems, { path: 'nats.credsFile', message: 'cannot be combined with a user or token in nats.servers' }];
}

/** Whether the relay dials others. */
export function isMeshing(settings: {
  readonly meshWith: readonly unknown[];
  readonly mesh: { readonly discover: readonly unknown[]; readonly mode: string };
}): boolean {
  const { meshWith, mesh } = settings;
  return meshWith.length > 0 || mesh.discover.length > 0 || mesh.mode === 'on-demand';
}
