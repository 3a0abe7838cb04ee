import type { ServerResponse } from 'node:http';
import { type NodeKey, parseNodeKeyHex } from '../protocol/key.js';
import { counted } from '../words/counted.js';
import type { FleetDirectory, FleetMember, FleetReport, KeyWhereabouts } from './fleet-report.js';
import { htmlPage, htmlTable } from './html-table.js';
import { DEBUG_HEADERS, escapeHtml, HTML, refuseQuery, sendError, sendPage } from './responses.js';

/** Where the list of relays comes from. */
export interface FleetSource {
  /** The relays of the region, and where a key is. */
  fleet(key: NodeKey | undefined): Promise<FleetReport>;
}

/** Reports that are made at once: a report waits for other relays. */
const MOST_REPORTS = 16;
const JSON_TYPE = 'application/json';

let reports = 0;

/** `/debug/fleet`: the relays of the region as tables. */
export function sendFleet(response: ServerResponse, source: FleetSource, query: string): Promise<void> {
  return report(response, source, query, (found) => sendPage(response, HTML, fleetPage(found), DEBUG_HEADERS));
}

/** `/debug/fleet.json`: a {@link FleetReport}. */
export function sendFleetJson(response: ServerResponse, source: FleetSource, query: string): Promise<void> {
  const send = (found: FleetReport) => sendPage(response, JSON_TYPE, `${JSON.stringify(found)}\n`, DEBUG_HEADERS);
  return report(response, source, query, send);
}

async function report(
  response: ServerResponse,
  source: FleetSource,
  query: string,
  send: (found: FleetReport) => void,
): Promise<void> {
  const asked = new URLSearchParams(query).get('key');
  const key = asked === null ? undefined : parseKey(asked);
  if (asked !== null && key === undefined) {
    refuseQuery(response, 'key must be nodekey: and 64 hex digits');
    return;
  }
  if (reports >= MOST_REPORTS) {
    sendError(response, 503, `${MOST_REPORTS} reports are being made already; try again`, DEBUG_HEADERS);
    return;
  }
  reports += 1;
  try {
    send(await source.fleet(key));
  } finally {
    reports -= 1;
  }
}

function parseKey(text: string): NodeKey | undefined {
  return text.startsWith('nodekey:') ? parseNodeKeyHex(text.slice('nodekey:'.length)) : undefined;
}

function fleetPage(found: FleetReport): string {
  const { here, directory, relays, mesh, key, mode, region, time } = found;
  const facts: readonly (readonly [name: string, value: string])[] = [
    ['Region', region],
    ['Mode', mode],
    [
      'Directory',
      directory ? directoryFact(directory) : 'none: relays of a full mesh tell each other about their keys',
    ],
    ...(key ? [[`Key ${key.key}`, whereabouts(key)] as const] : []),
  ];
  const common = ['Relay', 'Address', 'Name', 'Version', 'Clients', 'Links', 'Packets', 'Since'];
  const parts = [
    `<ul>\n${facts.map(fact).join('\n')}\n</ul>`,
    heading('This relay', [common, member(here)]),
    ...(directory
      ? [
          heading('Other relays', [
            [...common, 'Seen', 'Answer', 'Link', 'Keys', 'Failures', 'Trouble', 'Settings'],
            ...relays.map((relay) => {
              const { link, silence, seen, differences } = relay;
              const settings = differences === null ? 'differ' : `${differences.length} differ`;
              return [
                ...member(relay),
                `${Math.max(0, Math.round((time - seen) / 1000))} s ago`,
                silence || 'yes',
                ...(link ? [link.state, String(link.keys), String(link.failures), link.trouble] : ['', '', '', '']),
                settings,
              ];
            }),
          ]),
          heading('Settings that differ', [
            ['Relay', 'Setting', 'Here', 'There'],
            ...relays.flatMap(({ relay, differences }) =>
              (differences ?? []).map(({ name, here, there }) => [relay, name, shown(here), shown(there)]),
            ),
          ]),
        ]
      : []),
    heading('Full mesh', [
      ['Relay', 'Key', 'From', 'State', 'Since', 'Failures', 'Peers', 'Trouble'],
      ...mesh.map(({ name, relay, from, state, since, failures, peers, trouble }) => {
        return [name, relay ?? '', from, state, date(since), String(failures), String(peers), trouble];
      }),
    ]),
  ];
  return htmlPage('fleet', parts.join('\n'));
}

function heading(title: string, rows: readonly (readonly string[])[]): string {
  return `<h2>${title}</h2>${htmlTable(rows)}`;
}

function member({ relay, address, tlsName, version, load, since }: FleetMember): string[] {
  const { clients, links, packets } = load;
  return [relay, address, tlsName, version, String(clients), String(links), String(packets), date(since)];
}

function fact([name, value]: readonly [name: string, value: string]): string {
  return `<li><b>${escapeHtml(name)}:</b> ${escapeHtml(value)}</li>`;
}

function directoryFact(directory: FleetDirectory): string {
  const { state, since, failures, trouble, server, version, keys } = directory;
  const failing = failures > 0 ? `, failed ${counted(failures, 'time')} in a row: ${trouble}` : '';
  return `${state} since ${date(since)}${server && `, ${server} (${version})`}, ${counted(keys, 'key')} announced${failing}`;
}

function whereabouts({ here, elsewhere, trouble }: KeyWhereabouts): string {
  const places = [
    ...(here ? ['at this relay'] : []),
    ...(elsewhere ? [`at ${elsewhere.relay} ${elsewhere.address}${generationOf(elsewhere)}`] : []),
    ...(trouble ? [`whether another relay has it cannot be said: ${trouble}`] : []),
  ];
  return places.join('; ') || 'at no relay';
}

function generationOf({ generation }: NonNullable<KeyWhereabouts['elsewhere']>): string {
  return generation === null ? '' : `, generation ${generation}`;
}

function shown(value: string | number | boolean | null | undefined): string {
  return value === undefined ? 'not known' : value === null ? 'none' : String(value);
}

/** Other relays say when they began: a number that is no time stays a number. */
function date(time: number): string {
  return Math.abs(time) <= 8.64e15 ? new Date(time).toISOString() : String(time);
}
