/** `derpkit fleet`: the relays of a region as one of them sees them, and where a key is. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseNodeKeyHex } from '../protocol/key.js';
import { COLOURED, PLAIN } from './columns.js';
import { addDebugOptions, DebugClient, type DebugOptions } from './debug-client.js';
import { readReport } from './fleet/answer.js';
import { linesOf } from './fleet/table.js';
import { endWithReader, print } from './output.js';
import { type Target, withTarget } from './relay-target.js';
import { escaped } from './terminal-text.js';

interface FleetOptions extends DebugOptions {
  readonly key?: string;
  readonly json?: true;
}

/** Bytes of the longest answer: a thousand relays that differ in every setting. */
const LONGEST = 32 << 20;

export function addFleet(program: Command): void {
  const command = program
    .command('fleet')
    .description('show the relays of a region: versions, load, links, settings that differ, and where a key is')
    .argument('[url]', 'URL of one of the relays, in place of --url');
  addDebugOptions(command)
    .addOption(
      new Option('--key <nodekey>', 'say at which relay this client is').argParser((text) => {
        if (text.startsWith('nodekey:') && parseNodeKeyHex(text.slice('nodekey:'.length)) !== undefined) return text;
        throw new InvalidArgumentError('It must be nodekey: and 64 hex digits.');
      }),
    )
    .option('--json', 'print the answer of the relay as JSON')
    .action(async (url: string | undefined, options: FleetOptions) => {
      if (url !== undefined && options.url !== undefined)
        command.error('error: name the relay once: as [url] or --url');
      if (url !== undefined && options.config !== undefined)
        command.error('error: name the relay once: as [url] or by the settings of --config');
      const asked = { ...options, url: url ?? options.url };
      process.exitCode = await withTarget('fleet', asked, (target) => fleet(target, options));
    });
}

async function fleet(target: Target, options: FleetOptions): Promise<number> {
  const { key, json } = options;
  const text = await fetched(DebugClient.of(target, options), key);
  const report = readReport(text);
  endWithReader();
  const { isTTY, columns } = process.stdout;
  const isTerminal = isTTY && process.env.TERM !== 'dumb';
  const style = isTerminal && !process.env.NO_COLOR ? COLOURED : PLAIN;
  const width = isTTY ? columns || 80 : Number.POSITIVE_INFINITY;
  await print(json ? `${escaped(text.trim())}\n` : `${linesOf(report, width, style).join('\n')}\n`);
  return 0;
}

async function fetched(client: DebugClient, key: string | undefined): Promise<string> {
  const answer = await client.get('fleet.json', key === undefined ? {} : { key }, 'application/json');
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
    if (length > LONGEST) throw new Error('the list of relays is too long');
  }
  return Buffer.concat(chunks).toString();
}
