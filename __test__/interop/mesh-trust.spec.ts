/** The table of trusted relays, checked with the real derper: `conformance/mesh-trust.spec.ts` wants the same trust of us. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { ShownCertificates, trustSetups, wantedVerdicts } from '../helpers/trust-setups.js';
import { makeWorkspace, SERVER_NAME, type Workspace } from './scenarios.ts';
import { Relay } from './servers.ts';

let workspace: Workspace;

beforeAll(async () => {
  workspace = await makeWorkspace(SERVER_NAME);
});

afterAll(() => workspace?.remove());

it.each(['derper', 'derpkit'] as const)(
  '%s trusts the certificates that the table lists, and no others',
  async (who) => {
    const setups = trustSetups();
    const shown = await ShownCertificates.open(setups);
    onTestFinished(() => shown.close());
    const { directory, peers } = workspace;
    const trusted = join(directory, 'trusted.pem');
    writeFileSync(trusted, shown.trusted);
    const relay = await Relay.start(who, peers, {
      directory,
      name: `trust-${who}`,
      address: '127.0.0.1',
      flags: ['-mesh-with', shown.meshWith.join(',')],
      env: { SSL_CERT_FILE: trusted, SSL_CERT_DIR: directory },
    });
    try {
      expect(await shown.verdicts()).toEqual(wantedVerdicts(setups));
    } finally {
      await relay.stop();
    }
  },
);
