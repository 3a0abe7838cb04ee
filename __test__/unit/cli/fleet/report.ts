/** A report about a fleet in which there is something of everything. */
import type { FleetReport } from '../../../../src/http/fleet-report.js';

export const key = (pair: string) => `nodekey:${pair.repeat(32)}`;

const TIME = 1_795_000_000_000;
const HERE = {
  ...{ relay: key('aa'), address: '10.0.0.1:443', tlsName: 'derp.test', version: '0.1.0', since: TIME - 90_000 },
  load: { clients: 12, links: 2, packets: 1_234_567 },
};

export const REPORT: FleetReport = {
  ...{ time: TIME, mode: 'on-demand', region: 'eu', here: HERE, key: null },
  directory: {
    ...{ state: 'up', since: TIME - 7_200_000, failures: 0, trouble: '', server: '10.0.0.9:4222', version: '2.15.3' },
    ...{ roundTrip: 0.44, keys: 12 },
  },
  relays: [
    {
      ...{ ...HERE, relay: key('bb'), address: '10.0.0.2:443', since: TIME - 200_000_000, seen: TIME - 3_000 },
      ...{ silence: '', link: { state: 'connected', since: TIME, keys: 7, failures: 0, trouble: '' } },
      differences: [
        { name: 'logLevel', here: 'info', there: 'debug' },
        { name: 'novelty', there: 7 },
      ],
    },
    {
      ...{ ...HERE, relay: key('cc'), address: '[2001:db8::3]:443', version: '0.2.0', seen: TIME - 14_000 },
      ...{ silence: 'the relay does not answer in time', differences: null },
      link: { state: 'waiting', since: TIME, keys: 0, failures: 3, trouble: 'connection refused' },
    },
    { ...HERE, relay: key('dd'), address: 'd.test:443', seen: TIME, silence: '', link: null, differences: [] },
  ],
  mesh: [],
};

export const FULL: FleetReport = {
  ...{ ...REPORT, mode: 'full', directory: null, relays: [] },
  mesh: [
    {
      ...{ name: 'b.test', relay: key('bb'), from: 'dns relays.test', state: 'connected', since: TIME - 600_000 },
      ...{ failures: 0, peers: 20, trouble: '' },
    },
    {
      ...{ name: 'c.test:8443', relay: null, from: 'meshWith', state: 'waiting', since: TIME, failures: 2, peers: 0 },
      trouble: 'connection refused',
    },
  ],
};
