/** The DERP map entry of this relay for a tailnet, ready to paste. */
import { isIPv4, isIPv6 } from 'node:net';
import { stringify } from 'yaml';
import { REGION_ID } from './messages.js';

export interface RelayFacts {
  /** The name or address that clients connect to. */
  readonly host: string;
  readonly derpPort: number;
  /** -1 for none, as in a DERP map. */
  readonly stunPort: number;
  /** SHA-256 of the self-signed certificate, lower-case hex. */
  readonly fingerprint: string;
}

/** The `derpMap` section of a tailnet policy file. */
export function policyDerpMap({ host, derpPort, stunPort, fingerprint }: RelayFacts): string {
  const node = {
    Name: `${REGION_ID}a`,
    RegionID: REGION_ID,
    HostName: host,
    ...(isIPv4(host) && { IPv4: host }),
    ...(isIPv6(host) && { IPv6: host }),
    DERPPort: derpPort,
    STUNPort: stunPort,
    CertName: `sha256-raw:${fingerprint}`,
  };
  const region = { RegionID: REGION_ID, RegionCode: 'derpkit', RegionName: 'derpkit', Nodes: [node] };
  return JSON.stringify({ derpMap: { Regions: { [REGION_ID]: region } } }, null, 2);
}

/** The file for headscale's `derp.paths`. */
export function headscaleDerpMap({ host, derpPort, stunPort, fingerprint }: RelayFacts): string {
  const node = {
    name: `${REGION_ID}a`,
    regionid: REGION_ID,
    hostname: host,
    ...(isIPv4(host) && { ipv4: host }),
    ...(isIPv6(host) && { ipv6: host }),
    derpport: derpPort,
    stunport: stunPort,
    certname: `sha256-raw:${fingerprint}`,
  };
  const region = { regionid: REGION_ID, regioncode: 'derpkit', regionname: 'derpkit', nodes: [node] };
  // A Map keeps the region id a number; headscale's decoder refuses a string.
  return stringify({ regions: new Map([[REGION_ID, region]]) }, { lineWidth: 0 });
}
