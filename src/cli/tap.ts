/** `derpkit tap`: shows the packets that a relay reads, or writes them to a file that Wireshark opens. */
import { closeSync, constants, fchmodSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { reasonOf } from '../errors.js';
import { parseNodeKeyHex } from '../protocol/key.js';
import { addDebugOptions, DebugClient, type DebugOptions } from './debug-client.js';
import { endWithReader, print } from './output.js';
import { type Target, withTarget } from './relay-target.js';
import { fits, orAbsent, type Shape } from './shapes.js';
import { blocksOf, linesOf, parsed } from './stream-parts.js';
import { escaped, printable } from './terminal-text.js';

interface TapOptions extends DebugOptions {
  readonly key?: string;
  readonly payload?: string;
  readonly count?: number;
  readonly pcapng?: string;
  readonly json?: true;
}

/** A line of `/debug/tap`: one packet, or what was missed. */
interface TapLine {
  readonly time?: number;
  readonly source?: string;
  readonly destination?: string;
  readonly kind?: string;
  readonly length?: number;
  readonly dropped?: string;
  readonly payload?: string;
  readonly missed?: number;
}

const LINE: Shape = {
  ...{
    time: orAbsent('number'),
    source: orAbsent('string'),
    destination: orAbsent('string'),
    kind: orAbsent('string'),
  },
  ...{
    length: orAbsent('number'),
    dropped: orAbsent('string'),
    payload: orAbsent('string'),
    missed: orAbsent('number'),
  },
};

/** What has been shown. */
interface Tally {
  packets: number;
  missed: number;
}

/** Bytes of the longest packet. */
const LONGEST = 65_536;
/** Digits of a node key on a line. */
const DIGITS = 16;
/** Bytes of a payload on a line. */
const WIDTH = 32;

export function addTap(program: Command): void {
  const command = program
    .command('tap')
    .description('show packets as a relay reads them: source, destination, kind and length, without payloads');
  addDebugOptions(command)
    .addOption(
      new Option('--key <nodekey>', 'only packets from or to this client').argParser((text) => {
        if (text.startsWith('nodekey:') && parseNodeKeyHex(text.slice('nodekey:'.length)) !== undefined) return text;
        throw new InvalidArgumentError('It must be nodekey: and 64 hex digits.');
      }),
    )
    .addOption(
      new Option('--payload <bytes>', `show so many bytes of each packet, too, at most ${LONGEST}`).argParser(
        (text) => {
          if (/^\d{1,5}$/.test(text) && Number(text) <= LONGEST) return text;
          throw new InvalidArgumentError(`It must be a number from 0 to ${LONGEST}.`);
        },
      ),
    )
    .addOption(
      new Option('--count <packets>', 'end after so many packets').argParser((text) => {
        if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
        throw new InvalidArgumentError('It must be a number above 0.');
      }),
    )
    .option('--pcapng <file>', 'write a file that Wireshark opens, or - for the standard output')
    .addOption(new Option('--json', 'print the lines of JSON as the relay writes them').conflicts('pcapng'))
    .action(async (options: TapOptions) => {
      process.exitCode = await withTarget('tap', options, (target) => tap(target, options));
    });
}

async function tap(target: Target, options: TapOptions): Promise<number> {
  const { key, payload = '0', pcapng, count = Number.POSITIVE_INFINITY } = options;
  if (pcapng === '-' && process.stdout.isTTY) throw new Error('a terminal cannot show pcapng: name a file');
  const client = DebugClient.of(target, options);
  const accept = pcapng === undefined ? 'application/x-ndjson' : 'application/x-pcapng';
  const answer = await client.get('tap', { payload, ...(key !== undefined && { key }) }, accept);
  endWithReader();
  process.stderr.write(`packets of ${target.url}; Ctrl-C ends the tap\n`);
  let isInterrupted = false;
  process.once('SIGINT', () => {
    isInterrupted = true;
    answer.destroy();
  });
  const tally: Tally = { packets: 0, missed: 0 };
  try {
    if (pcapng === undefined) await show(answer, tally, count, options.json === true);
    else await record(answer, tally, count, pcapng);
  } catch (error) {
    if (!isInterrupted) throw error;
  }
  answer.destroy();
  process.stderr.write(`${tally.packets} packets, ${tally.missed} missed\n`);
  if (isInterrupted || tally.packets >= count) return 0;
  throw new Error('the relay has ended the tap');
}

async function show(answer: IncomingMessage, tally: Tally, count: number, asJson: boolean): Promise<void> {
  for await (const text of linesOf(answer)) {
    const line = parse(text);
    const { missed = 0 } = line;
    tally.missed += missed;
    if (asJson) await print(`${escaped(text)}\n`);
    else if (line.missed !== undefined) await print(`${missed} packets missed: this reader was behind\n`);
    else if (line.source !== undefined) await print(described(line));
    if (line.source !== undefined) tally.packets += 1;
    if (tally.packets >= count) return;
  }
}

function parse(text: string): TapLine {
  const line = parsed(text);
  if (!fits(line, LINE)) throw new Error('the answer is no tap');
  return line as TapLine;
}

/** A line for people: `12:00:00.123 0123456789abcdef > fedcba9876543210 other 148`, and the payload in hex below it. */
function described({ time = 0, source, destination, kind, length, dropped, payload }: TapLine): string {
  const short = (key = '') => key.replace('nodekey:', '').slice(0, DIGITS);
  const facts = [clock(time), short(source), '>', short(destination), kind, length];
  if (dropped !== undefined) facts.push(`dropped: ${dropped}`);
  const hex = Buffer.from(payload ?? '', 'base64').toString('hex');
  const rows = hex.match(new RegExp(`.{1,${2 * WIDTH}}`, 'g')) ?? [];
  return [facts.join(' '), ...rows.map((row) => `    ${row}`)].map((row) => `${printable(row)}\n`).join('');
}

/** The time of day where the command runs. */
function clock(time: number): string {
  const date = new Date(time);
  const two = (value: number) => String(value).padStart(2, '0');
  const milliseconds = String(date.getMilliseconds()).padStart(3, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${milliseconds}`;
}

async function record(answer: IncomingMessage, tally: Tally, count: number, file: string): Promise<void> {
  const descriptor = file === '-' ? undefined : openFile(file);
  try {
    for await (const { bytes, packets, missed } of blocksOf(answer, count)) {
      tally.packets += packets;
      tally.missed += missed;
      // Whole blocks at once: a signal that ends the command leaves a file that can be read.
      if (descriptor === undefined) await print(bytes);
      else writeAll(descriptor, bytes, file);
    }
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** For its owner alone, also if it exists: the file says which client talks with which. */
function openFile(file: string): number {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, constants.O_WRONLY | constants.O_CREAT, 0o600);
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) return descriptor;
    if ((stat.mode & 0o077) !== 0) fchmodSync(descriptor, 0o600);
    ftruncateSync(descriptor);
    return descriptor;
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    throw new Error(`--pcapng ${file}: ${reasonOf(error)}`);
  }
}

function writeAll(descriptor: number, bytes: Buffer, file: string): void {
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
  } catch (error) {
    throw new Error(`--pcapng ${file}: ${reasonOf(error)}`);
  }
}
