import { expect, it } from 'vitest';
import type { Link, LinkListener } from '../../../../src/control/directory/link.js';
import { RollCall } from '../../../../src/control/directory/roll-call.js';
import { Seal } from '../../../../src/control/directory/seal.js';
import { SealedLink } from '../../../../src/control/directory/sealed-link.js';
import { Subjects } from '../../../../src/control/directory/subjects.js';
import type { NodeKey } from '../../../../src/protocol/key.js';
import { key } from '../../../helpers/directory.js';

const MESH_KEY = 'ab'.repeat(32);

/** Relays of one region that hear each other at once, and the lines of each. */
class Region {
  private readonly links: { link: Link; listeners: Map<string, LinkListener> }[] = [];
  private readonly subjects = new Subjects('test', MESH_KEY);

  relay(address: string, relay: NodeKey): { roll: RollCall; lines: string[] } {
    const lines: string[] = [];
    const roll = new RollCall({
      ...{ relay, instance: address, subjects: this.subjects, isSynced: () => true, settings: () => ({}) },
      facts: () => ({
        ...{ address, port: 443, tlsName: 'derp.test', version: '1', settings: 'ab' },
        load: { clients: 0, links: 0, packets: 0 },
      }),
      onChange: () => {},
      log: (_level, _facts, text) => void lines.push(text),
    });
    roll.connected(new SealedLink(this.link(), new Seal(MESH_KEY), Date.now, () => {}));
    return { roll, lines };
  }

  private link(): Link {
    const listeners = new Map<string, LinkListener>();
    const link: Link = {
      ...{ server: 'a server', version: '2', ownAddress: '10.0.0.9', ended: new Promise(() => {}) },
      publish: (subject, data) => {
        const others = this.links.filter((one) => one.link !== link);
        for (const one of others) {
          one.listeners.get(subject)?.onMessage({ data, subject, reply: '', isNoResponders: false });
        }
      },
      subscribe: (subject, listener) => {
        listeners.set(subject, listener);
        return { unsubscribe: () => {} };
      },
      flush: async () => {},
      end: () => {},
    };
    this.links.push({ link, listeners });
    return link;
  }
}

it('a relay that leaves announces itself no more, so that others do not take it for one that comes', () => {
  const region = new Region();
  const [leaves, stays] = [region.relay('10.0.0.1', key()), region.relay('10.0.0.2', key())];
  leaves.roll.announce();
  leaves.roll.leave();
  // A beat of the connection, which ends only when NATS has the farewell.
  leaves.roll.announce();
  leaves.roll.leave();
  expect(stays.lines).toEqual(['a relay of the region announces itself', 'a relay of the region leaves']);
  expect(stays.roll.all()).toHaveLength(1);
});

it('a relay knows where another one with its key is, until that one leaves', () => {
  const region = new Region();
  const twins = key();
  const [here, there] = [region.relay('10.0.0.1', twins), region.relay('10.0.0.2', twins)];
  expect(here.roll.twinAt).toBe('');
  there.roll.announce();
  there.roll.announce();
  expect(here.roll.twinAt).toBe('10.0.0.2:443');
  expect(here.roll.all().map(({ address }) => address)).toEqual(['10.0.0.1', '10.0.0.2']);
  there.roll.leave();
  expect(here.roll.twinAt).toBe('');
  expect(here.roll.all()).toHaveLength(1);
});
