/** The way back: each of the two relays starts on what the other has written, with the same public key and certificate. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { upgradeRequest } from '../helpers/client.js';
import { Wire } from '../helpers/wire.js';
import { makeWorkspace, type Workspace } from './scenarios.ts';
import { type Implementation, Relay } from './servers.ts';

const ADDRESS = '127.0.0.1';

let workspace: Workspace;

beforeAll(async () => {
  workspace = await makeWorkspace('derp.test');
});

afterAll(() => workspace?.remove());

describe.each<[Implementation, Implementation]>([
  ['derpkit', 'derper'],
  ['derper', 'derpkit'],
])('%s, then %s, and back', (first, second) => {
  it('the key and the certificate of an IP address stay', async () => {
    // Nothing exists at first, so that the first relay makes the key, the directory and the certificate.
    const certificates = join(workspace.directory, `${first}-first`);
    const key = join(workspace.directory, `${first}-first.key`);
    const files = () => [key, ...['crt', 'key'].map((end) => join(certificates, `${ADDRESS}.${end}`))].map(read);
    mkdirSync(certificates, { mode: 0o700 });
    const seen = [];
    let written: readonly string[] | undefined;
    for (const implementation of [first, second, first]) {
      seen.push(await serve(implementation, `${first}-first`, certificates));
      // A later relay does not write the files anew.
      written ??= files();
      expect(files()).toEqual(written);
    }
    expect(seen[0]?.publicKey).toMatch(/^[0-9a-f]{64}$/);
    expect(seen).toEqual([seen[0], seen[0], seen[0]]);
  });
});

/** Runs a relay and looks at what clients know it by. */
async function serve(implementation: Implementation, name: string, certificates: string) {
  const { directory, peers } = workspace;
  const flags = ['-certmode', 'manual', '-certdir', certificates, '-hostname', ADDRESS, '-http-port', '-1'];
  const relay = await Relay.start(implementation, peers, { directory, name, address: ADDRESS, flags });
  try {
    const wire = await Wire.open({ host: ADDRESS, port: relay.port, tls: {} });
    const certificate = wire.tlsSocket.getPeerCertificate().fingerprint256;
    wire.write(upgradeRequest());
    const head = (await wire.takeThrough('\r\n\r\n')).toString('latin1');
    await wire.destroy();
    return { publicKey: /^Derp-Public-Key: (.*)\r$/m.exec(head)?.[1], certificate };
  } finally {
    expect(await relay.stop()).toBe(0);
  }
}

function read(path: string): string {
  return readFileSync(path, 'utf8');
}
