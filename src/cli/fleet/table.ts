/** What `derpkit fleet` shows, as lines of text. */
import type { FleetMember, FleetMeshRelay, FleetRelay, FleetReport, KeyWhereabouts } from '../../http/fleet-report.js';
import { counted } from '../../words/counted.js';
import { type Column, columnsOf, type Style, short } from '../columns.js';
import { printable } from '../terminal-text.js';

/** Digits of a node key in a line. */
const DIGITS = 16;
const LABEL = 10;
/** Spaces in front of the second line of a text that does not fit into one. */
const INDENT = 2;

/** The lines of a report. Tables are cut at the width, and all else goes on in the next line. */
export function linesOf(report: FleetReport, width: number, style: Style): string[] {
  const { relays, mesh } = report;
  const rows = [{ ...report.here, link: null }, ...relays];
  return [
    ...facts(report).flatMap(([label, text, isAlarm]) => labelled(label, text, isAlarm, width, style)),
    '',
    ...table(memberColumns(report), rows, width, style),
    ...(mesh.length > 0 ? ['', ...table(meshColumns(report.time), mesh, width, style)] : []),
    ...section('differences', relays.flatMap(differences), width, style.label),
    ...section('trouble', [...relays.flatMap(troubles), ...mesh.flatMap(meshTrouble)], width, style.alarm),
  ];
}

type Fact = readonly [label: string, text: string, isAlarm?: boolean];

function facts(report: FleetReport): Fact[] {
  const { mode, region, time, relays, mesh, directory, key } = report;
  const count = directory ? relays.length : mesh.length;
  const others = counted(count, 'other relay');
  return [
    ['region', directory ? `${region}, mode ${mode}, ${others}` : `mode ${mode}, ${others}`],
    directory
      ? directoryFact(directory, time)
      : ['directory', 'none: relays of a full mesh tell each other about their keys'],
    ...(key ? [keyFact(key)] : []),
  ];
}

function directoryFact(directory: NonNullable<FleetReport['directory']>, now: number): Fact {
  const { state, since, failures, trouble, server, version, roundTrip, keys } = directory;
  const parts = [
    `${state} for ${age(now - since)}`,
    ...(server ? [`${server} (${version})`] : []),
    ...(roundTrip === null ? [] : [`${roundTrip.toFixed(1)} ms`]),
    `${counted(keys, 'key', short(keys))} announced`,
    ...(failures > 0 ? [`failed ${failures === 1 ? 'once' : `${failures} times`}: ${trouble}`] : []),
  ];
  return ['directory', parts.join(', '), state !== 'up' && state !== 'syncing'];
}

function keyFact({ key, here, elsewhere, trouble }: KeyWhereabouts): Fact {
  const places = [
    ...(here ? ['here'] : []),
    ...(elsewhere ? [placeOf(elsewhere)] : []),
    ...(trouble ? [`whether ${here || elsewhere ? 'another' : 'a'} relay has it cannot be said: ${trouble}`] : []),
  ];
  return ['key', `${digits(key)} is ${places.join(', and ') || 'nowhere'}`, trouble !== ''];
}

function placeOf({ relay, address, generation }: NonNullable<KeyWhereabouts['elsewhere']>): string {
  const since = generation === null ? '' : `, generation ${generation}`;
  return `at ${digits(relay)}${address && ` (${address})`}${since}`;
}

type Row = FleetMember & Partial<FleetRelay>;

function memberColumns({ time, here, directory }: FleetReport): readonly Column<Row>[] {
  const own: Column<Row>[] = [
    ['RELAY', -DIGITS, ({ relay }) => digits(relay)],
    ['ADDRESS', -45, ({ address }) => address],
    ['VERSION', -16, ({ version }) => version],
    ['UP', 4, ({ since }) => age(time - since)],
    ['CLIENTS', 7, ({ load }) => short(load.clients)],
    ['LINKS', 5, ({ load }) => short(load.links)],
    ['PACKETS', 7, ({ load }) => short(load.packets)],
  ];
  if (!directory) return own;
  return [
    ...own,
    ['SEEN', 4, ({ seen }) => (seen === undefined ? 'here' : age(time - seen))],
    ['LINK', -10, ({ link }) => link?.state ?? '-'],
    ['KEYS', 5, ({ link }) => (link ? short(link.keys) : '-')],
    ['FAILED', 6, ({ link }) => (link ? short(link.failures) : '-')],
    ['SETTINGS', -12, (row) => (row.relay === here.relay ? '-' : settings(row))],
  ];
}

function settings({ differences }: Row): string {
  if (!differences) return 'differ';
  return differences.length === 0
    ? 'as here'
    : `${differences.length} ${differences.length === 1 ? 'differs' : 'differ'}`;
}

function meshColumns(now: number): readonly Column<FleetMeshRelay>[] {
  return [
    ['MESH', -45, ({ name }) => name],
    ['RELAY', -DIGITS, ({ relay }) => (relay === null ? '-' : digits(relay))],
    ['STATE', -10, ({ state }) => state],
    ['FOR', 4, ({ since }) => age(now - since)],
    ['PEERS', 5, ({ peers }) => short(peers)],
    ['FAILED', 6, ({ failures }) => short(failures)],
    ['FROM', -45, ({ from }) => from],
  ];
}

function differences({ relay, differences }: FleetRelay): string[] {
  return (differences ?? []).map(
    ({ name, here, there }) => `${digits(relay)} ${name}: ${shown(here)} here, ${shown(there)} there`,
  );
}

function troubles({ relay, silence, link, differences }: FleetRelay): string[] {
  return [
    ...(silence ? [`${digits(relay)} does not say what it does: ${silence}`] : []),
    ...(differences === null ? [`${digits(relay)} has other settings, and has not said which`] : []),
    ...(link && link.failures > 0 ? [`${digits(relay)} cannot be dialled: ${link.trouble}`] : []),
  ];
}

function meshTrouble({ name, state, failures, trouble }: FleetMeshRelay): string[] {
  if (state === 'twin') return [`${name} has the key of this relay: give each relay a key of its own`];
  return failures > 0 ? [`${name} cannot be dialled: ${trouble}`] : [];
}

function table<Item>(columns: readonly Column<Item>[], rows: readonly Item[], width: number, style: Style): string[] {
  const [heads = '', ...lines] = columnsOf(columns, rows).map((line) => line.slice(0, width));
  return [style.head(heads), ...lines];
}

function labelled(label: string, text: string, isAlarm = false, width: number, style: Style): string[] {
  const paint = isAlarm ? style.alarm : (line: string) => line;
  const room = Math.max(1, width - LABEL);
  return folded(printable(text), room).map((line, at) => {
    return at === 0 ? style.label(label.padEnd(LABEL).slice(0, width)) + paint(line) : ' '.repeat(LABEL) + paint(line);
  });
}

function section(title: string, texts: readonly string[], width: number, paint: (text: string) => string): string[] {
  if (texts.length === 0) return [];
  const lines = texts.flatMap((text) => {
    const [first = '', ...rest] = folded(printable(text), Math.max(1, width - INDENT));
    return [first, ...rest.map((line) => ' '.repeat(INDENT) + line)];
  });
  return ['', paint(title.slice(0, width)), ...lines];
}

/** Lines of this width at most, broken at a space where there is one. */
function folded(text: string, width: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width);
    const end = space > 0 ? space : width;
    lines.push(rest.slice(0, end));
    rest = rest.slice(space > 0 ? end + 1 : end);
  }
  return [...lines, rest];
}

function digits(key: string): string {
  return key.replace('nodekey:', '').slice(0, DIGITS);
}

function shown(value: string | number | boolean | null | undefined): string {
  return value === undefined ? 'not known' : value === null ? 'none' : String(value);
}

/** A time in four characters or less. Clocks of relays may differ: no time is below 0. */
function age(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 100) return `${seconds}s`;
  if (seconds < 100 * 60) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 100 * 3600) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.min(999, Math.floor(seconds / 86_400))}d`;
}
