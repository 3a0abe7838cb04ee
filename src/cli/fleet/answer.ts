/** What a relay answers about its fleet, checked: it may be of another version, or no relay at all. */
import type { FleetReport } from '../../http/fleet-report.js';
import { parsed } from '../stream-parts.js';

/** What a value has to be: a kind of value, a list, an object with at least these fields, or one of several. */
type Shape = 'string' | 'number' | 'boolean' | 'null' | 'absent' | { readonly [name: string]: Shape } | ListOf | OneOf;

class ListOf {
  constructor(readonly item: Shape) {}
}

class OneOf {
  constructor(readonly shapes: readonly Shape[]) {}
}

const orNull = (shape: Shape) => new OneOf([shape, 'null']);
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

function fits(value: unknown, shape: Shape): boolean {
  if (shape instanceof OneOf) return shape.shapes.some((each) => fits(value, each));
  if (shape instanceof ListOf) return Array.isArray(value) && value.every((item) => fits(item, shape.item));
  if (typeof shape === 'string') return kindOf(value) === shape;
  if (typeof value !== 'object' || value === null) return false;
  const given = value as Record<string, unknown>;
  return Object.entries(shape).every(([name, each]) => fits(given[name], each));
}

function kindOf(value: unknown): string {
  return value === null ? 'null' : value === undefined ? 'absent' : typeof value;
}
