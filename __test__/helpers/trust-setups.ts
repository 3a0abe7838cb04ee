/** Who trusts whom: set-ups of relays that mesh, and whether the one that dials has to believe the other. derper decides. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:tls';
import { type Issued, issue } from './issue.js';
import { Changes } from './wait.js';

export interface TrustSetup {
  readonly about: string;
  /** As in the setting, without a port. */
  readonly host: string;
  /** What the other relay shows, leaf first. */
  readonly shown: readonly Issued[];
  /** What is in the file of what is trusted. */
  readonly trusted: readonly Issued[];
  readonly verdict: 'trusted' | 'refused';
}

const CLIENTS = '1.3.6.1.5.5.7.3.2';
const SERVERS = '1.3.6.1.5.5.7.3.1';
let count = 0;

/** Every set-up has names of its own, so that all of them can be tried in one process. */
function setup(
  about: string,
  verdict: TrustSetup['verdict'],
  make: (name: (label: string) => string) => Omit<TrustSetup, 'about' | 'verdict' | 'host'> & { host?: string },
): TrustSetup {
  const number = count++;
  const name = (label: string) => `${label}${number}.test`;
  return { about, verdict, host: name('relay'), ...make(name) };
}

function root(name: (label: string) => string): Issued {
  return issue({ subject: name('root'), ca: true });
}

export function trustSetups(): readonly TrustSetup[] {
  return [
    setup('a certificate of its own, trusted itself', 'trusted', (name) => {
      const own = issue({ subject: 'own', names: [name('relay')], ca: false });
      return { shown: [own], trusted: [own] };
    }),
    setup('what openssl req -x509 makes: an authority’s, trusted itself', 'trusted', (name) => {
      const own = issue({ subject: 'own', names: [name('relay')], ca: true });
      return { shown: [own], trusted: [own] };
    }),
    setup('a certificate of version 3 without basic constraints, trusted itself', 'trusted', (name) => {
      const own = issue({ subject: 'own', names: [name('relay')] });
      return { shown: [own], trusted: [own] };
    }),
    setup('a trusted root', 'trusted', (name) => {
      const by = root(name);
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')], usage: SERVERS })], trusted: [by] };
    }),
    setup('an authority’s certificate, of a trusted root', 'trusted', (name) => {
      const by = root(name);
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')], ca: true })], trusted: [by] };
    }),
    setup('a trusted root, by way of another', 'trusted', (name) => {
      const top = root(name);
      const by = issue({ subject: name('between'), by: top, ca: true });
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')] }), by], trusted: [top] };
    }),
    setup('a trusted root, by way of two others, in another order', 'trusted', (name) => {
      const top = root(name);
      const upper = issue({ subject: name('upper'), by: top, ca: true });
      const by = issue({ subject: name('lower'), by: upper, ca: true, criticalPolicies: true });
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')] }), upper, by], trusted: [top] };
    }),
    setup('critical policies', 'trusted', (name) => {
      const by = root(name);
      return {
        shown: [issue({ subject: 'relay', by, names: [name('relay')], criticalPolicies: true })],
        trusted: [by],
      };
    }),
    setup('a trusted authority without its root', 'trusted', (name) => {
      const by = issue({ subject: name('between'), by: root(name), ca: true });
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')] }), by], trusted: [by] };
    }),
    setup('a trusted authority without its root, which is not shown', 'trusted', (name) => {
      const by = issue({ subject: name('between'), by: root(name), ca: true });
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')] })], trusted: [by] };
    }),
    setup('only the relay’s own certificate is trusted', 'trusted', (name) => {
      const own = issue({ subject: 'relay', by: root(name), names: [name('relay')] });
      return { shown: [own], trusted: [own] };
    }),
    setup('a wildcard', 'trusted', (name) => {
      const by = root(name);
      const shown = [issue({ subject: 'relay', by, names: [`*.${name('wild')}`] })];
      return { shown, trusted: [by], host: `relay.${name('wild')}` };
    }),
    setup('a wildcard with one label behind it', 'trusted', (name) => {
      const own = issue({ subject: name('one label'), names: ['*.internal'], ca: false });
      return { shown: [own], trusted: [own], host: 'relay.internal' };
    }),
    setup('a host name with a final dot', 'trusted', (name) => {
      const by = root(name);
      const shown = [issue({ subject: 'relay', by, names: [name('relay')] })];
      return { shown, trusted: [by], host: `${name('relay')}.` };
    }),
    setup('an address', 'trusted', (name) => {
      const own = issue({ subject: name('address'), names: ['127.0.0.1'], ca: true });
      return { shown: [own], trusted: [own], host: '127.0.0.1' };
    }),

    setup('a root that is not trusted', 'refused', (name) => {
      return { shown: [issue({ subject: 'relay', by: root(name), names: [name('relay')] })], trusted: [] };
    }),
    setup('a certificate of its own that is not trusted', 'refused', (name) => {
      return { shown: [issue({ subject: name('own'), names: [name('relay')], ca: true })], trusted: [] };
    }),
    setup('a name of a trusted root that it is not', 'refused', (name) => {
      const by = issue({ subject: name('root'), ca: true });
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')] }), by], trusted: [root(name)] };
    }),
    setup('a trusted certificate that is no authority’s', 'refused', (name) => {
      const by = issue({ subject: name('none'), ca: false });
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')] })], trusted: [by] };
    }),
    setup('an authority that may not have another below it', 'refused', (name) => {
      const top = root(name);
      const upper = issue({ subject: name('upper'), by: top, ca: true, pathLength: 0 });
      const by = issue({ subject: name('lower'), by: upper, ca: true });
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')] }), by, upper], trusted: [top] };
    }),
    setup('an authority that has expired', 'refused', (name) => {
      const top = root(name);
      const by = issue({ subject: name('between'), by: top, ca: true, from: -3, until: -1 });
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')] }), by], trusted: [top] };
    }),
    setup('a certificate that has expired, trusted itself', 'refused', (name) => {
      const own = issue({ subject: name('own'), names: [name('relay')], ca: true, from: -3, until: -1 });
      return { shown: [own], trusted: [own] };
    }),
    setup('a certificate that is not valid yet, trusted itself', 'refused', (name) => {
      const own = issue({ subject: name('own'), names: [name('relay')], ca: true, from: 1 });
      return { shown: [own], trusted: [own] };
    }),
    setup('another name', 'refused', (name) => {
      const own = issue({ subject: name('relay'), names: [name('other')], ca: true });
      return { shown: [own], trusted: [own] };
    }),
    setup('no alternative names', 'refused', (name) => {
      const own = issue({ subject: name('relay'), ca: true });
      return { shown: [own], trusted: [own] };
    }),
    setup('a wildcard for two labels', 'refused', (name) => {
      const own = issue({ subject: name('wild'), names: [`*.${name('wild')}`], ca: true });
      return { shown: [own], trusted: [own], host: `a.relay.${name('wild')}` };
    }),
    setup('a certificate for clients', 'refused', (name) => {
      const own = issue({ subject: name('own'), names: [name('relay')], ca: true, usage: CLIENTS });
      return { shown: [own], trusted: [own] };
    }),
    setup('an authority for clients', 'refused', (name) => {
      const by = issue({ subject: name('root'), ca: true, usage: CLIENTS });
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')], ca: true })], trusted: [by] };
    }),
    setup('an authority for clients, of a server’s certificate', 'refused', (name) => {
      const by = issue({ subject: name('root'), ca: true, usage: CLIENTS });
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')], ca: false })], trusted: [by] };
    }),
    setup('a trusted root that has expired', 'refused', (name) => {
      const by = issue({ subject: name('root'), ca: true, from: -3, until: -1 });
      return { shown: [issue({ subject: 'relay', by, names: [name('relay')] })], trusted: [by] };
    }),
    setup('a critical extension that nobody knows', 'refused', (name) => {
      const own = issue({ subject: name('own'), names: [name('relay')], ca: true, criticalNonsense: true });
      return { shown: [own], trusted: [own] };
    }),
  ];
}

/** Servers that show what the set-ups say, and see what becomes of it. */
export class ShownCertificates {
  readonly seen = new Map<TrustSetup, 'trusted' | 'refused'>();
  private readonly changes = new Changes();

  private constructor(
    readonly setups: readonly TrustSetup[],
    private readonly servers: readonly Server[],
  ) {
    for (const [index, server] of servers.entries()) {
      const sees = (verdict: 'trusted' | 'refused') => {
        this.seen.set(setups[index] as TrustSetup, verdict);
        this.changes.notify();
      };
      server.on('tlsClientError', () => sees('refused'));
      server.on('secureConnection', (socket) => {
        socket.on('error', () => sees('refused'));
        // Who refuses in TLS 1.3 has finished a handshake, to the server; who believes asks for DERP.
        socket.once('data', () => sees('trusted'));
        socket.once('close', () => {
          if (!this.seen.has(setups[index] as TrustSetup)) sees('refused');
        });
      });
    }
  }

  static async open(setups: readonly TrustSetup[]): Promise<ShownCertificates> {
    const servers = setups.map(({ shown }) =>
      createServer({ cert: shown.map(({ pem }) => pem).join(''), key: shown[0]?.key }),
    );
    for (const server of servers) server.listen(0, '127.0.0.1');
    await Promise.all(servers.filter((server) => !server.listening).map((server) => once(server, 'listening')));
    return new ShownCertificates(setups, servers);
  }

  /** As in the setting. */
  get meshWith(): string[] {
    return this.servers.map((server, index) => {
      const { port } = server.address() as AddressInfo;
      return `${this.setups[index]?.host}:${port}/127.0.0.1`;
    });
  }

  /** Everything that is trusted in any of the set-ups, in PEM. */
  get trusted(): string {
    return this.setups.flatMap(({ trusted }) => trusted.map(({ pem }) => pem)).join('');
  }

  /** What has become of each, by what it is about, once all have been tried. */
  async verdicts(): Promise<Record<string, string>> {
    const missing = () => this.setups.filter((one) => !this.seen.has(one)).map(({ about }) => about);
    await this.changes.until(
      () => (missing().length === 0 ? true : undefined),
      () => `a dial of ${missing().join('; ')}`,
      60_000,
    );
    return Object.fromEntries(this.setups.map((one) => [one.about, this.seen.get(one) as string]));
  }

  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** What the set-ups want, by what they are about. */
export function wantedVerdicts(setups: readonly TrustSetup[]): Record<string, string> {
  return Object.fromEntries(setups.map(({ about, verdict }) => [about, verdict]));
}
