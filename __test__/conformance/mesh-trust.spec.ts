/** Which certificates of other relays are believed: the table that derper is held to in `interop/mesh-trust.spec.ts`, too. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { meshNode, trustOwnCertificate } from '../helpers/mesh.js';
import { ShownCertificates, trustSetups, wantedVerdicts } from '../helpers/trust-setups.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

describe.each(LANES)('the certificate of another relay, $name', (lane) => {
  it('a relay trusts the certificates that derper trusts, and no others, and logs why not', async () => {
    const setups = trustSetups();
    const shown = await ShownCertificates.open(setups);
    onTestFinished(() => shown.close());
    trustOwnCertificate(shown.trusted);
    const relay = meshNode(lane, { port: 0, meshWith: shown.meshWith });
    await relay.relay.start();
    expect(await shown.verdicts()).toEqual(wantedVerdicts(setups));
    const refused = () => relay.relay.mesh().filter((_link, index) => setups[index]?.verdict === 'refused');
    await eventually(
      () => refused().every(({ trouble }) => trouble !== ''),
      () => `trouble with all of ${JSON.stringify(refused())}`,
    );
    for (const [index, { trouble }] of relay.relay.mesh().entries()) {
      if (setups[index]?.verdict !== 'refused') continue;
      expect(trouble, setups[index]?.about).toMatch(/^its certificate is not trusted: [a-z]/);
      // Such as `CaUsedAsEndEntity` or `invalid peer certificate: Other(…)`.
      expect(trouble, setups[index]?.about).not.toMatch(/[a-z][A-Z]|\(|peer certificate/);
    }
    await relay.close();
  });
});
