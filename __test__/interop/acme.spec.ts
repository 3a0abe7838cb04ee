/** Certificates by ACME, from pebble, on every plane. */
import { X509Certificate } from 'node:crypto';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DnsHook } from '../../src/control/acme/dns-hook.js';
import { LANES } from '../helpers/lanes.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import { Authority, DAY, getHttp, NAME, read, shown, temporary } from './acme.ts';

const authority = Authority.forThisFile();

describe.each(LANES)('ACME, $name', (lane) => {
  it('HTTP-01: the first client waits for the certificate, which is stored as autocert does', async () => {
    const directory = temporary();
    const relay = await authority.relay(lane, directory);
    const certificate = await shown(relay);
    expect(certificate.checkHost(NAME)).toBe(NAME);
    const kept = await eventually(() => read(directory, NAME), 'a file');
    expect(kept).toMatch(/^-----BEGIN EC PRIVATE KEY-----/);
    expect(new X509Certificate(kept).fingerprint256).toBe(certificate.fingerprint256);
    expect(statSync(join(directory, NAME)).mode & 0o777).toBe(0o600);
    // Challenges and locks are gone again.
    await eventually(
      () => readdirSync(directory).sort().join() === `acme_account+key,${NAME}`,
      () => `two files, not ${readdirSync(directory)}`,
    );
    // A second relay takes what is there.
    await relay.close();
    const orders = authority.pebble.orders;
    const next = await authority.relay(lane, directory);
    expect((await shown(next)).fingerprint256).toBe(certificate.fingerprint256);
    expect(authority.pebble.orders).toBe(orders);
  });

  it('TLS-ALPN-01 works without a plain port', async () => {
    const byHttp = authority.pebble.validatedOverHttp;
    const relay = await authority.relay(lane, temporary(), { httpPort: -1 });
    expect((await shown(relay)).checkHost(NAME)).toBe(NAME);
    expect(authority.pebble.validatedOverHttp).toBe(byHttp);
  });

  it('DNS-01 works with a function, and with a command', async () => {
    const asked: string[] = [];
    const dnsHook: DnsHook = async (action, name, value) => {
      asked.push(`${action} ${name}`);
      await authority.pebble.txt(action, name, value);
    };
    const config = { hostname: 'dns.example.com' };
    const relay = await authority.relay(lane, temporary(), config, { dnsHook });
    expect((await shown(relay, config.hostname)).checkHost(config.hostname)).toBe(config.hostname);
    await eventually(() => asked.length >= 2, 'the record to be removed');
    expect(asked).toEqual(['present _acme-challenge.dns.example.com', 'cleanup _acme-challenge.dns.example.com']);
    await relay.close();
    const exec = join(temporary(), 'hook');
    const script = `path=set-txt; [ "$1" = cleanup ] && path=clear-txt
exec ${process.execPath} -e 'fetch(process.argv[1], {method: "POST", body: process.argv[2]})' "${authority.pebble.dnsUrl}/$path" "{\\"host\\": \\"$2.\\", \\"value\\": \\"$3\\"}"`;
    writeFileSync(exec, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const byCommand = { hostname: 'command.example.com', acme: { dns: { exec } } };
    const second = await authority.relay(lane, temporary(), byCommand);
    expect((await shown(second, byCommand.hostname)).checkHost(byCommand.hostname)).toBe(byCommand.hostname);
  });

  it('an IP certificate serves the address that a client without a server name connects to', async () => {
    const directory = temporary();
    const acme = { ipCerts: true, profile: 'shortlived', atStart: false };
    const relay = await authority.relay(lane, directory, { hostname: '127.0.0.1', acme });
    const certificate = await shown(relay, '');
    expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1');
    // The short-lived profile: less than seven days.
    expect(Date.parse(certificate.validTo) - Date.now()).toBeLessThan(7 * DAY);
    await eventually(
      () => readdirSync(directory).sort().join() === '127.0.0.1.crt,127.0.0.1.key,acme-account.key',
      () => `three files, not ${readdirSync(directory)}`,
    );
    await expect(shown(relay, 'other.example.com')).rejects.toThrow();
  });

  it('an IP certificate by TLS-ALPN-01 serves clients behind a NAT', async () => {
    // The relay hears on every address; the one that is named is where the CA comes to.
    const acme = { ipCerts: true, profile: 'shortlived', ipAddresses: ['127.0.0.9'] };
    const listen = `0.0.0.0:${authority.ports.main}`;
    const relay = await authority.relay(lane, temporary(), { hostname: '127.0.0.9', listen, httpPort: -1, acme });
    const byHttp = authority.pebble.validatedOverHttp;
    for (let count = 0; count < 2; count++) {
      expect((await shown(relay, '')).checkIP('127.0.0.9')).toBe('127.0.0.9');
    }
    expect(authority.pebble.validatedOverHttp).toBe(byHttp);
    await expect(shown(relay, 'other.example.com')).rejects.toThrow();
  });

  it('unknown names start no order, and handshakes for the name share one', async () => {
    const orders = authority.pebble.orders;
    const relay = await authority.relay(lane, temporary(), { hostname: 'many.example.com', acme: { atStart: false } });
    for (const name of ['stranger.example.com', 'example.com', '', 'x.many.example.com']) {
      await expect(shown(relay, name)).rejects.toThrow();
    }
    await expect(
      Wire.open(relay.target({ servername: 'many.example.com', ALPNProtocols: ['acme-tls/1'] })),
    ).rejects.toThrow();
    expect(authority.pebble.orders).toBe(orders);
    const target = relay.target({ servername: 'many.example.com' });
    const wires = await Promise.all(Array.from({ length: 500 }, () => Wire.open(target)));
    expect(wires).toHaveLength(500);
    expect(authority.pebble.orders).toBe(orders + 1);
    await Promise.all(wires.map((wire) => wire.destroy()));
    // Once there is a certificate, no other name is asked about.
    await expect(shown(relay, 'stranger.example.com')).rejects.toThrow();
  });

  it('HTTP answers only known tokens, and only for the name', async () => {
    const relay = await authority.relay(lane, temporary());
    await shown(relay);
    const ask = async (path: string, host = NAME) => {
      const { port } = relay.httpTarget();
      const response = await getHttp(port, `/.well-known/acme-challenge/${path}`, host);
      return [response.status, response.body];
    };
    expect(await ask('x')).toEqual([404, 'acme/autocert: certificate cache miss\n']);
    expect(await ask('..%2facme_account+key')).toEqual([404, 'acme/autocert: certificate cache miss\n']);
    expect(await ask('x', 'other.example.com')).toEqual([
      403,
      'acme/autocert: host "other.example.com" not configured in HostWhitelist\n',
    ]);
  });
});
