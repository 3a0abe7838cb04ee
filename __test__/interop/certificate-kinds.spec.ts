/** Tailscale's client with every kind of certificate that a relay may have, one after the other at a relay that runs on. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildPeers, type Peers } from '../../packaging/peers.mjs';
import { LANES } from '../helpers/lanes.js';
import { MESH_KEY, startRelay } from '../helpers/relay.js';
import { Wire } from '../helpers/wire.js';
import { temporary } from './acme.ts';
import { run } from './scenarios.ts';

const CURVE = (name: string) => ['ec', '-pkeyopt', `ec_paramgen_curve:${name}`];
/** Every certificate is for these: a name, a second one, a wildcard, an address. */
const NAMES = 'DNS:relay.example.com,DNS:other.example.com,DNS:*.example.org,IP:127.0.0.1';
/** What `openssl req -newkey` is told, and which of the names clients say. */
const KINDS: readonly [kind: string, newKey: readonly string[], serverNames: readonly string[]][] = [
  ['P-256', CURVE('P-256'), ['relay.example.com', 'other.example.com', 'any.example.org', '127.0.0.1']],
  ['P-384', CURVE('P-384'), ['any.example.org']],
  ['RSA of 2048 bits', ['rsa:2048'], ['127.0.0.1']],
  ['RSA of 4096 bits', ['rsa:4096'], ['relay.example.com']],
  ['Ed25519', ['ed25519'], ['other.example.com']],
];

let peers: Peers;
let hasOpenssl = true;

beforeAll(async () => {
  peers = await buildPeers();
  hasOpenssl = await run('openssl', ['version']).then(
    () => true,
    () => false,
  );
});

describe.each(LANES)('certificates and Tailscale’s client, $name', (lane) => {
  it('Tailscale’s client accepts each kind of certificate after a reload, fast start included', async ({ skip }) => {
    if (!hasOpenssl) skip('there is no openssl');
    const directory = temporary();
    const [chainFile, keyFile, meshKeyFile] = ['chain.pem', 'key.pem', 'mesh.key'].map((name) =>
      join(directory, name),
    ) as [string, string, string];
    writeFileSync(meshKeyFile, `${MESH_KEY}\n`);
    const make = async (newKey: readonly string[]) => {
      const args = ['-subj', '/CN=test', '-addext', `subjectAltName=${NAMES}`, '-keyout', keyFile, '-out', chainFile];
      await run('openssl', ['req', '-x509', '-nodes', '-days', '30', '-newkey', ...newKey, ...args]);
    };
    await make(CURVE('P-256'));
    const relay = await startRelay(lane, {
      tls: true,
      config: { certificate: undefined, certMode: 'manual', certificates: [{ chainFile, keyFile }] },
    });
    const { host, port } = relay.target();
    for (const [kind, newKey, serverNames] of KINDS) {
      await make(newKey);
      await relay.relay.reload();
      await relay.commandsDone();
      for (const serverName of serverNames) {
        const target = ['-tls', `https://${host}:${port}`, '-ca', chainFile, '-server-name', serverName];
        for (const scenario of ['meta-certificate', 'fast-start', 'relay-tls']) {
          const outcome = run(peers.interop, ['-run', scenario, ...target, '-mesh-key-file', meshKeyFile]);
          await outcome.catch((error) => expect.fail(`${kind}, ${scenario}: ${error.stdout}${error.stderr}`));
        }
        const wire = await Wire.open(relay.target({ servername: serverName === '127.0.0.1' ? '' : serverName }));
        expect(wire.tlsSocket.getPeerX509Certificate()?.toString(), kind).toBe(readFileSync(chainFile, 'utf8'));
        await wire.destroy();
      }
    }
  });
});
