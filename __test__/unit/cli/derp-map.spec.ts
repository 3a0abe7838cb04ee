import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { headscaleDerpMap, policyDerpMap } from '../../../src/cli/derp-map.js';

const facts = { host: 'derp.example.com', derpPort: 8443, stunPort: 3478, fingerprint: 'ab'.repeat(32) };

describe('the DERP map for Tailscale', () => {
  const nodeOf = (more: Partial<typeof facts>) =>
    JSON.parse(policyDerpMap({ ...facts, ...more })).derpMap.Regions['900'];

  it('Tailscale’s map has one region with one node, pinned by its certificate', () => {
    expect(nodeOf({})).toEqual({
      RegionID: 900,
      RegionCode: 'derpkit',
      RegionName: 'derpkit',
      Nodes: [
        {
          Name: '900a',
          RegionID: 900,
          HostName: 'derp.example.com',
          DERPPort: 8443,
          STUNPort: 3478,
          CertName: `sha256-raw:${facts.fingerprint}`,
        },
      ],
    });
  });

  it.each([
    ['192.0.2.1', { IPv4: '192.0.2.1' }],
    ['2001:db8::1', { IPv6: '2001:db8::1' }],
  ])('Tailscale’s map contains the address %s, so that no name has to resolve', (host, address) => {
    expect(nodeOf({ host, stunPort: -1 }).Nodes[0]).toMatchObject({ HostName: host, STUNPort: -1, ...address });
  });
});

describe('the DERP map for headscale', () => {
  it('headscale’s map has equal contents, in its spelling, under a number', () => {
    const text = headscaleDerpMap({ ...facts, host: '192.0.2.1' });
    expect(text).toMatch(/^ {2}900:$/m);
    expect(parse(text)).toEqual({
      regions: {
        900: {
          regionid: 900,
          regioncode: 'derpkit',
          regionname: 'derpkit',
          nodes: [
            {
              name: '900a',
              regionid: 900,
              hostname: '192.0.2.1',
              ipv4: '192.0.2.1',
              derpport: 8443,
              stunport: 3478,
              certname: `sha256-raw:${facts.fingerprint}`,
            },
          ],
        },
      },
    });
  });

  it('headscale’s map breaks no long line', () => {
    expect(headscaleDerpMap(facts)).toContain(`certname: sha256-raw:${facts.fingerprint}\n`);
  });
});
