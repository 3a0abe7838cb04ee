/** The fields of log lines: one name for one thing, in every line. The tests hold each line that they see to these names. */

/** Every field, and what it says. `docs/operating.md` has this table. */
export const LOG_FIELDS = {
  client: 'number of a connection, as in `/debug/clients/`',
  key: 'node key that the line is about, `nodekey:` and 64 hex digits',
  addr: 'address and port of the other end, or of a listener; the address alone where it stands for several ports',
  reason: 'why, in a word or a sentence',
  heldBack: 'lines like this one that were held back since the last one',
  times: 'how often it has happened since the last line about it',
  app: 'what a client calls itself',
  from: 'node key that packets come from; or where a value comes from',
  verifier: 'verifier, `deny` list or hook that has decided',
  relay: 'relay of the mesh, as the settings or a source name it',
  source: 'where the names of mesh relays come from',
  name: 'name or address that a certificate or a DNS question is about',
  names: 'names of a certificate',
  fingerprint: 'SHA-256 of a certificate, which clients can pin',
  next: 'when it is tried again',
  until: 'when a certificate expires',
  explanation: 'what the authority says of a renewal',
  file: 'file that the line is about',
  keys: 'node keys in a list',
  settings: 'settings that have changed',
  plane: 'data plane, `native` or `js`',
  connections: 'connections that there may be, or that were closed',
  clients: 'clients that were connected when the relay closed',
  files: 'file descriptors that the relay may have',
  limit: 'limit that was reached',
  peers: 'node keys that a relay of the mesh announces',
  relays: 'relays that a source names',
  came: 'relays that a source names anew',
  went: 'relays that a source does not name any more',
  found: 'relays that all sources name',
  connected: 'other name of a relay that is connected already',
  milliseconds: 'how long something takes',
  perAddress: 'limit of connections of one address',
  evicted: 'connections that made room for others, by what was full: the share of one `address`, or a `pool`',
  refused: 'connections that were refused, by what was full',
  serverName: 'server name that a client asked for',
  alert: 'TLS alert that a client sent',
  packets: 'dropped packets by reason',
  mesh: 'the client is a relay of the mesh',
  home: 'whether this relay is the client’s home now',
  tls: 'version of TLS, or `none`',
  version: 'version of the DERP protocol that a client speaks',
  canAckPings: 'the client answers pings',
  prober: 'the client says that it is a prober',
  notIdeal: 'the client would rather be at another relay of the region',
  code: 'code of an error, as programs get it',
  fatal: 'the relay ends',
} as const;

/** The fields of a line that {@link LOG_FIELDS} does not have. */
export function strangeFields(facts: object): string[] {
  return Object.entries(facts).flatMap(([name, value]) =>
    value === undefined || Object.hasOwn(LOG_FIELDS, name) ? [] : [name],
  );
}
