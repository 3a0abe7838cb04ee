/** Sources in DNS, against a real DNS server that does what the test says. */
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { DnsServer } from '../../../../packaging/dns-server.mjs';
import { DnsSource, LOOKS, SrvSource } from '../../../../src/control/mesh/dns-source.js';
import { type DnsQuestions, dnsQuestions } from '../../../../src/control/mesh/lookups.js';
import type { MeshSource } from '../../../../src/control/mesh/source.js';
import { STRICT } from '../../../helpers/strict-barrier.js';
import { eventually } from '../../../helpers/wait.js';

const NAME = 'relays.test';

interface Told {
  readonly names: readonly string[];
  readonly trouble: string | undefined;
}

const started: MeshSource[] = [];
afterEach(() => {
  for (const source of started.splice(0)) source.stop();
});

async function dnsServer(): Promise<DnsServer> {
  const server = await DnsServer.start();
  onTestFinished(() => server.close());
  return server;
}

/** Records what a source reports. */
function follow(source: MeshSource) {
  const told: Told[] = [];
  started.push(source);
  source.start({
    found: (relays) => told.push({ names: relays.map(({ name }) => name), trouble: undefined }),
    failed: (trouble, relays = []) => told.push({ names: relays.map(({ name }) => name), trouble }),
  });
  return {
    told,
    until: (check: (told: Told) => boolean) =>
      eventually(
        () => {
          const last = told.at(-1);
          return last && check(last) ? last : undefined;
        },
        () => JSON.stringify(told),
      ),
  };
}

function byName(server: DnsServer, more: object = {}): DnsSource {
  return new DnsSource({ name: NAME, port: 8443, server: server.address, ...more }, STRICT);
}

/** Looks until the source has told something new. */
async function lookAgain(source: MeshSource, { told }: ReturnType<typeof follow>): Promise<Told> {
  const before = told.length;
  await eventually(() => {
    source.look();
    return told.length > before;
  }, 'another look');
  return told.at(-1) as Told;
}

describe('a DNS source by name', () => {
  it('a DNS source names every address of both families, under the name that certificates must cover', async () => {
    const server = await dnsServer();
    server.set(NAME, ['192.0.2.1', '2001:db8::1', '192.0.2.2']);
    const found: unknown[] = [];
    const source = byName(server, { tlsName: 'derp.test' });
    started.push(source);
    source.start({ found: (relays) => found.push(...relays), failed: (reason) => found.push(reason) });
    await eventually(() => found.length === 3, 'three relays');
    const peer = { host: 'derp.test', authority: 'derp.test:8443', port: 8443 };
    expect(found).toEqual([
      { name: '192.0.2.1:8443', peer: { ...peer, dialHost: '192.0.2.1' } },
      { name: '192.0.2.2:8443', peer: { ...peer, dialHost: '192.0.2.2' } },
      { name: '[2001:db8::1]:8443', peer: { ...peer, dialHost: '2001:db8::1' } },
    ]);
  });

  it('a DNS source follows a name that changes, as soon as its TTL permits', async () => {
    const server = await dnsServer();
    server.set(NAME, ['192.0.2.1'], 1);
    const { until } = follow(byName(server));
    await until(({ names }) => names.join() === '192.0.2.1:8443');
    server.set(NAME, ['192.0.2.2'], 1);
    await until(({ names }) => names.join() === '192.0.2.2:8443');
  });

  it('a name that does not exist, or has no address, means that there are no relays', async () => {
    const server = await dnsServer();
    server.set(NAME, ['192.0.2.1']);
    const source = byName(server);
    const following = follow(source);
    await following.until(({ names }) => names.length === 1);
    server.delete(NAME);
    expect(await lookAgain(source, following)).toEqual({ names: [], trouble: undefined });
    server.setServices(NAME, []);
    expect(await lookAgain(source, following)).toEqual({ names: [], trouble: undefined });
  });

  it('the last addresses stay while a DNS server fails, and the reason is reported', async () => {
    const server = await dnsServer();
    server.set(NAME, ['192.0.2.1', '2001:db8::1']);
    const source = byName(server);
    const following = follow(source);
    await following.until(({ names }) => names.length === 2);
    server.fail(NAME);
    expect(await lookAgain(source, following)).toEqual({
      names: ['192.0.2.1:8443', '[2001:db8::1]:8443'],
      trouble: 'relays.test: the DNS server has failed',
    });
  });

  it('the last addresses of one family stay while it fails, and the other family is followed', async () => {
    const server = await dnsServer();
    server.set(NAME, ['192.0.2.1', '2001:db8::1']);
    const source = byName(server);
    const following = follow(source);
    await following.until(({ names }) => names.length === 2);
    server.set(NAME, ['192.0.2.7', '2001:db8::7']);
    server.fail(NAME, 'servfail', ['AAAA']);
    expect(await lookAgain(source, following)).toEqual({
      names: ['192.0.2.7:8443', '[2001:db8::1]:8443'],
      trouble: 'relays.test: the DNS server has failed',
    });
  });

  it('a DNS server that does not answer is reported', async () => {
    const server = await dnsServer();
    server.set(NAME, ['192.0.2.1']);
    server.fail(NAME, 'silent');
    const { until } = follow(byName(server));
    const { names, trouble } = await until((told) => told.trouble !== undefined);
    expect({ names, trouble }).toEqual({ names: [], trouble: 'relays.test: the DNS server does not answer in time' });
  });

  it('a DNS source finds more addresses than a datagram holds, over TCP', async () => {
    const server = await dnsServer();
    server.set(
      NAME,
      [...Array(200).keys()].map((host) => `192.0.2.${host}`),
    );
    const { names } = await follow(byName(server)).until(() => true);
    expect(names).toHaveLength(200);
  });

  it('addresses that no relay can have are left out', async () => {
    const server = await dnsServer();
    server.set(NAME, ['0.0.0.0', '255.255.255.255', '224.0.0.1', '::', 'ff02::1', '192.0.2.1', '239.1.1.1', '2.2.2.2']);
    const { names } = await follow(byName(server)).until(() => true);
    expect(names).toEqual(['192.0.2.1:8443', '2.2.2.2:8443']);
  });

  it.each([
    ['0', 0, LOOKS.least],
    ['7 s', 7, 7_000],
    ['an hour', 3600, LOOKS.most],
  ])('with a TTL of %s, a DNS source looks again after its TTL, within bounds', async (_name, ttl, pause) => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    let looks = 0;
    const nothing = () => Promise.reject(Object.assign(new Error('no data'), { code: 'ENODATA' }));
    const ask = (): DnsQuestions => {
      looks += 1;
      return {
        resolve4: async () => [{ address: '192.0.2.1', ttl }],
        resolve6: nothing,
        resolveSrv: nothing,
        cancel() {},
      };
    };
    follow(new DnsSource({ name: NAME, port: 1 }, STRICT, ask));
    await vi.advanceTimersByTimeAsync(pause - 1);
    expect(looks).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(looks).toBe(2);
  });

  it('many hints cause one look, even if the TTL is long', async () => {
    const server = await dnsServer();
    server.set(NAME, ['192.0.2.1'], 60);
    let made = 0;
    const ask = (): DnsQuestions => {
      made += 1;
      return dnsQuestions(server.address);
    };
    const source = new DnsSource({ name: NAME, port: 1 }, STRICT, ask);
    await follow(source).until(() => true);
    for (let time = 0; time < 100; time++) source.look();
    expect(made).toBe(1);
    await eventually(() => made === 2, 'the look');
    server.set(NAME, ['192.0.2.2'], 60);
    source.look();
    await eventually(() => made === 3, 'another look');
  });
});

describe('a DNS source by SRV records', () => {
  it('an SRV source names every address of every host, at the port of its record', async () => {
    const server = await dnsServer();
    server.setServices(NAME, [
      { host: 'a.test', port: 443 },
      { host: 'b.test', port: 8443 },
    ]);
    server.set('a.test', ['192.0.2.1', '192.0.2.2']);
    server.set('b.test', ['2001:db8::1']);
    const relays: string[] = [];
    const source = new SrvSource({ name: NAME, server: server.address }, STRICT);
    started.push(source);
    source.start({
      found: (all) => relays.push(...all.map(({ name, peer }) => `${name} ${peer.authority}`)),
      failed: (reason) => relays.push(reason),
    });
    await eventually(() => relays.length === 3, 'three relays');
    expect(relays).toEqual(['192.0.2.1:443 a.test', '192.0.2.2:443 a.test', '[2001:db8::1]:8443 b.test:8443']);
  });

  it('an SRV source makes no more relays of millions than are noticed as too many', async () => {
    const source = new SrvSource({ name: NAME }, STRICT, () => ({
      resolve4: async () => [...Array(4000)].map((_, n) => ({ address: `10.0.${n >> 8}.${n & 255}`, ttl: 60 })),
      resolve6: async () => [],
      resolveSrv: async () => [...Array(700)].map((_, n) => ({ name: 'a.test', port: n + 1 })),
      cancel: () => {},
    }));
    const { until } = follow(source);
    expect((await until(() => true)).names).toHaveLength(501);
  });

  it('an SRV source keeps its hosts while the server fails, and the addresses of a host that fails', async () => {
    const server = await dnsServer();
    server.setServices(NAME, [{ host: 'a.test', port: 1 }]);
    server.set('a.test', ['192.0.2.1']);
    const source = new SrvSource({ name: NAME, tlsName: 'derp.test', server: server.address }, STRICT);
    const following = follow(source);
    await following.until(({ names }) => names.length === 1);
    server.fail(NAME);
    server.set('a.test', ['192.0.2.2']);
    const reason = 'relays.test: the DNS server has failed';
    expect(await lookAgain(source, following)).toEqual({ names: ['192.0.2.2:1'], trouble: reason });
    server.setServices(NAME, [{ host: 'a.test', port: 2 }]);
    server.fail('a.test');
    expect(await lookAgain(source, following)).toEqual({
      names: ['192.0.2.2:2'],
      trouble: 'a.test: the DNS server has failed',
    });
    server.delete(NAME);
    expect(await lookAgain(source, following)).toEqual({ names: [], trouble: undefined });
  });
});
