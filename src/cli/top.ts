/** `derpkit top`: what the live page shows, in a terminal, or as lines for scripts. */
import { setTimeout } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { reasonOf } from '../errors.js';
import { COLOURED, PLAIN } from './columns.js';
import { addDebugOptions, DebugClient, type DebugOptions } from './debug-client.js';
import { endWithReader, print } from './output.js';
import { type Target, withTarget } from './relay-target.js';
import { escaped, printable } from './terminal-text.js';
import { SORTS, type Sort, sorted, TopClients } from './top/clients.js';
import { type Busy, type Span, spansOf } from './top/feed.js';
import { frameOf, KEYS, type Report, reportOf } from './top/frame.js';
import { Screen } from './top/screen.js';

interface TopOptions extends DebugOptions {
  readonly sort: string;
  readonly interval: number;
  readonly once?: true;
  readonly json?: true;
}

/** Clients of a list without a terminal. */
const LISTED = 25;
/** Milliseconds before the relay is asked again. */
const AGAIN = 1000;

export function addTop(program: Command): void {
  const command = program
    .command('top')
    .description('show what a relay does: rates, drops, logins, processor, memory, and its busiest clients');
  addDebugOptions(command)
    .addOption(
      new Option('--sort <column>', 'what the clients are sorted by')
        .choices(SORTS.map(({ name }) => name))
        .default('rate'),
    )
    .addOption(
      new Option('--interval <seconds>', 'time between two frames').default(1).argParser((text) => {
        if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
        throw new InvalidArgumentError('It must be a number of seconds from 1 to 9999.');
      }),
    )
    .option('--once', 'print one frame, and end')
    .option('--json', 'print a line of JSON for each frame')
    .action(async (options: TopOptions) => {
      process.exitCode = await withTarget('top', options, (target) => top(target, options));
    });
}

async function top(target: Target, options: TopOptions): Promise<number> {
  const view = new View(target.url, DebugClient.of(target, options), sortNamed(options.sort));
  const isPrinted = options.once || options.json || !Screen.isPossible();
  return isPrinted ? printFrames(view, options) : showScreen(view, options.interval);
}

function sortNamed(name: string): Sort {
  return SORTS.find((sort) => sort.name === name) as Sort;
}

/** One relay, and the order of its clients. */
class View {
  private readonly topClients: TopClients;

  constructor(
    readonly url: string,
    readonly client: DebugClient,
    public sort: Sort,
  ) {
    this.topClients = new TopClients(client);
  }

  async report(span: Span, limit: number): Promise<Report> {
    return reportOf(this.url, span, sorted(await this.clients(span, limit), this.sort));
  }

  private async clients({ busiest }: Span, limit: number): Promise<readonly Busy[]> {
    const { column } = this.sort;
    return column ? this.topClients.look(column, limit) : busiest;
  }
}

async function printFrames(view: View, { interval, once, json }: TopOptions): Promise<number> {
  endWithReader();
  for await (const span of spansOf(view.client, interval, () => {})) {
    const report = await view.report(span, LISTED);
    const room = { width: Number.POSITIVE_INFINITY, height: Number.POSITIVE_INFINITY };
    const text = json
      ? escaped(JSON.stringify(report))
      : `${frameOf(report, room, view.sort, PLAIN).join('\n')}${once ? '' : '\n'}`;
    await print(`${text}\n`);
    if (once) return 0;
  }
  throw new Error('the relay has ended the feed');
}

/** Goes on until a key or a signal ends it. Rejects if the relay does not answer at first; later it is asked again. */
async function showScreen(view: View, interval: number): Promise<number> {
  const style = process.env.NO_COLOR ? PLAIN : COLOURED;
  let report: Report | undefined;
  let trouble = '';
  const draw = () => {
    const { size } = screen;
    const state = trouble && `${trouble}; trying again`.slice(0, size.width);
    const room = { ...size, height: size.height - (state ? 1 : 0) };
    const lines = report
      ? frameOf(report, room, view.sort, style, KEYS)
      : [`${printable(view.url)}: waiting for figures`.slice(0, size.width)];
    screen.draw(state ? [style.alarm(state), ...lines] : lines);
  };
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const onKey = (key: string) => {
    if (key === 'q') end();
    const sort = SORTS.find((each) => each.key === key);
    if (!sort) return;
    view.sort = sort;
    if (report) report = { ...report, clients: sorted(report.clients, sort) };
    draw();
  };
  const screen = new Screen({ key: onKey, resize: draw });
  endWithReader(() => screen.leave());

  const follow = async () => {
    for (let isFirst = true; ; await setTimeout(AGAIN)) {
      try {
        const onOpen = () => {
          if (isFirst) screen.open();
          isFirst = false;
          trouble = '';
          draw();
        };
        for await (const span of spansOf(view.client, interval, onOpen)) {
          report = await view.report(span, screen.size.height);
          draw();
        }
        trouble = 'the relay has ended the feed';
      } catch (error) {
        if (isFirst) throw error;
        trouble = `no connection to the relay: ${printable(reasonOf(error))}`;
      }
      draw();
    }
  };
  try {
    await Promise.race([ended, follow()]);
  } finally {
    screen.leave();
  }
  // The feed may still be open.
  process.exit(0);
}
