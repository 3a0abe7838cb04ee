import { expect, it } from 'vitest';
import type { Link } from '../../../../src/control/directory/link.js';
import { Kind } from '../../../../src/control/directory/messages.js';
import { RollCall } from '../../../../src/control/directory/roll-call.js';
import { boundTo, Seal } from '../../../../src/control/directory/seal.js';
import { SealedLink } from '../../../../src/control/directory/sealed-link.js';
import { Subjects } from '../../../../src/control/directory/subjects.js';
import { key } from '../../../helpers/directory.js';

const MESH_KEY = 'ab'.repeat(32);

it('a relay that leaves announces itself no more, so that others do not take it for one that comes', () => {
  const subjects = new Subjects('test', MESH_KEY);
  const seal = new Seal(MESH_KEY);
  const said: (number | undefined)[] = [];
  const link: Link = {
    ...{ server: 'a server', version: '2', ownAddress: '10.0.0.1', ended: new Promise(() => {}) },
    publish: (_subject, data) => void said.push(seal.open(data, boundTo(subjects.relays))?.kind),
    subscribe: () => ({ unsubscribe: () => {} }),
    flush: async () => {},
    end: () => {},
  };
  const roll = new RollCall({
    ...{ relay: key(), instance: '1', subjects, isSynced: () => true, settings: () => ({}) },
    facts: () => ({
      ...{ address: undefined, port: 443, tlsName: 'derp.test', version: '1', settings: 'ab' },
      load: { clients: 0, links: 0, packets: 0 },
    }),
    onChange: () => {},
    log: () => {},
  });
  roll.connected(new SealedLink(link, seal, Date.now, () => {}));
  roll.announce();
  roll.leave();
  // A beat of the connection, which ends only when NATS has the farewell.
  roll.announce();
  roll.leave();
  expect(said).toEqual([Kind.Relay, Kind.Leaving]);
});
