/** What a relay answers about its fleet, checked: it may be of another version, or no relay at all. */
import type { FleetReport } from '../../http/fleet-report.js';
import { fits, ListOf, OneOf, orNull, type Shape } from '../shapes.js';
import { parsed } from '../stream-parts.js';

type Fields = Readonly<Record<string, Shape>>;

const VALUE = new OneOf(['string', 'number', 'boolean', 'null', 'absent']);
const MEMBER: Fields = {
  ...{ relay: 'string', address: 'string', tlsName: 'string', version: 'string', since: 'number' },
  load: { clients: 'number', links: 'number', packets: 'number' },
};
const LINK: Fields = { state: 'string', since: 'number', failures: 'number', trouble: 'string' };
const DIRECTORY: Fields = {
  ...LINK,
  server: 'string',
  version: 'string',
  roundTrip: orNull('number'),
  keys: 'number',
};
const REPORT: Shape = {
  ...{ time: 'number', mode: 'string', region: 'string', here: MEMBER, directory: orNull(DIRECTORY) },
  relays: new ListOf({
    ...{ ...MEMBER, seen: 'number', silence: 'string', link: orNull({ ...LINK, keys: 'number' }) },
    differences: orNull(new ListOf({ name: 'string', here: VALUE, there: VALUE })),
  }),
  mesh: new ListOf({ ...LINK, name: 'string', relay: orNull('string'), from: 'string', peers: 'number' }),
  key: orNull({
    ...{ key: 'string', here: 'boolean', trouble: 'string' },
    elsewhere: orNull({ relay: 'string', address: 'string', generation: orNull('number') }),
  }),
};

/** Throws an Error in words if the text is no report. */
export function readReport(text: string): FleetReport {
  const value = parsed(text);
  if (!fits(value, REPORT)) throw new Error('the answer is no report about a fleet');
  return value as FleetReport;
}
