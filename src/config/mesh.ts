/** The settings of the mesh that find other relays. */
import { isIP } from 'node:net';
import { z } from 'zod';
import { parseAddress } from '../protocol/host-port.js';
import { group } from './groups.js';
import { bad, duration, hostname, objects, path, text, whole } from './values.js';

const SOURCES = 'must be a list of objects, each with dns, srv or file';
const ONE_OF = 'must be an object with one of dns, srv and file';
const DNS = 'must be an object of name, port, tlsName and server';
const SRV = 'must be a name, or an object of name, tlsName and server';
const NAME = 'must be a DNS name';
const PORT = 'must be a port from 1 to 65535';
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
  .strictObject({ dns: dns.optional(), srv: srv.optional(), file: path.optional() }, SOURCES)
  .refine((given) => Object.values(given).filter((one) => one !== undefined).length === 1, ONE_OF);

/** A source of relays. Exactly one of the fields is there. */
export type DiscoverSource = z.output<typeof source>;

export const mesh = group({
  discover: objects(source, SOURCES).default([]).describe('where relays to mesh with are found: dns, srv or file'),
  drainDelay: duration.prefault('2s').describe('how long SIGTERM waits, so that clients come no more'),
});

/** Whether the relay dials others. */
export function isMeshing(settings: {
  readonly meshWith: readonly unknown[];
  readonly mesh: { readonly discover: readonly unknown[] };
}): boolean {
  return settings.meshWith.length > 0 || settings.mesh.discover.length > 0;
}
