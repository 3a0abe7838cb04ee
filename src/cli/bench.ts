/** `derpkit bench`: measures relays side by side, and writes a record. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type Command, Option } from 'commander';
import { CONTENDERS, type Contender, find, running, USUAL } from '../bench/contenders.js';
import { findGenerator, NO_GENERATOR } from '../bench/generator.js';
import { machine } from '../bench/machine.js';
import { type Cores, Stage } from '../bench/measure.js';
import { refuseElsewhere, whyNot } from '../bench/narrow-link.js';
import { picture } from '../bench/picture.js';
import { tools } from '../bench/processes.js';
import { Progress } from '../bench/progress.js';
import { isClean, RECORD_FORMAT, type RunRecord, readRecord, writeRecord } from '../bench/record.js';
import { CALM, runAll } from '../bench/run.js';
import { matching, type Profile, profileOf } from '../bench/scenarios.js';
import { markdown, table } from '../bench/table.js';
import { parseAddress } from '../config.js';

interface BenchOptions {
  readonly quick?: true;
  readonly full?: true;
  readonly tiny?: true;
  readonly narrow?: true;
  readonly scenario?: readonly string[];
  readonly contenders?: string;
  readonly target?: readonly string[];
  readonly tls?: true;
  readonly pid?: string;
  readonly stun?: string;
  readonly rounds?: string;
  readonly seconds?: string;
  readonly derper?: string;
  readonly generator?: string;
  readonly relayCores?: string;
  readonly generatorCores?: string;
  readonly out: string;
  readonly resume?: string;
  readonly picture?: string;
  readonly list?: true;
}

/** Facts that only a clone knows; `npm run bench` passes them in variables. */
const CLONE = 'DERPKIT_BENCH_CLONE';
const DERPER_MISSING = 'DERPKIT_BENCH_DERPER_MISSING';

export function addBench(program: Command): void {
  program
    .command('bench')
    .description('measure relays side by side: native, js, and derper if it is installed')
    .option('--quick', 'one round of the most telling rows, in less than two minutes')
    .option('--full', 'every row, five rounds, for as long as it takes')
    .option('--narrow', 'receivers behind narrow links, and how old packets are when they arrive; needs root on Linux')
    .addOption(new Option('--tiny', 'check that everything works, and measure nothing').hideHelp())
    .option(
      '--scenario <name...>',
      'only these: families, transports, rows, or beginnings of their names; --list has them',
    )
    .option('--list', 'list the rows')
    .option('--contenders <names>', `contenders, separated by commas (default: ${USUAL.join(',')})`)
    .option('--target <[name=]host:port...>', 'a relay that runs already; --contenders adds others beside it')
    .option('--tls', 'the targets speak TLS')
    .option('--pid <id>', 'process of the only target, if it runs here, to measure its CPU time and memory')
    .option('--stun <address:port>', 'address at which the target answers STUN')
    .option('--rounds <number>', 'number of rounds')
    .option('--seconds <number>', 'length of each window')
    .option('--derper <path>', "path of Tailscale's derper (default: the one on the PATH)")
    .option('--generator <path>', 'path of the load generator')
    .option('--relay-cores <list>', 'cores of the relay, as taskset takes them (default: 0)')
    .option('--generator-cores <list>', 'cores of the generator, as taskset takes them (default: 1)')
    .option('--out <directory>', 'directory of records and pictures', 'bench')
    .option('--resume <record>', 'continue an interrupted record')
    .option('--picture <record>', 'draw the picture of a record again, and print its table as Markdown')
    .action(async (options: BenchOptions) => {
      try {
        process.exitCode = await bench(options);
      } catch (error) {
        process.stderr.write(`derpkit: bench: ${(error as Error).message}\n`);
        process.exitCode = 2;
      }
    });
}

async function bench(options: BenchOptions): Promise<number> {
  if (options.picture !== undefined) return draw(options.picture, options.out);
  const chosen = chosenProfile(options);
  if (options.list) {
    for (const { id, title } of chosen.scenarios) process.stdout.write(`${id.padEnd(32)} ${title}\n`);
    return 0;
  }
  const profile = options.narrow ? possible(chosen) : chosen;
  const generator = options.generator ?? findGenerator();
  if (generator === undefined || !existsSync(generator)) throw new Error(NO_GENERATOR);
  const { contenders, absent } = chosenContenders(options, generator);
  if (contenders.length === 0) throw new Error(absent.map(({ name, why }) => `${name}: ${why}`).join('\n'));

  const toolbox = tools();
  const kit = machine(process.env[CLONE]);
  const cores = coresFor(options, kit.cores, toolbox.taskset);
  const earlier = options.resume === undefined ? undefined : readRecord(options.resume);
  const record: RunRecord = earlier ?? {
    format: RECORD_FORMAT,
    date: new Date().toISOString(),
    profile: profile.name,
    complete: false,
    rounds: profile.rounds,
    seconds: profile.seconds,
    calm: CALM,
    machine: kit,
    ...(cores && { cores }),
    contenders: contenders.map(({ name, about }) => ({ name, about })),
    absent,
    // Without derper, the others are compared with the last contender.
    baseline: (contenders.find(({ name }) => name === 'derper') ?? contenders.at(-1))?.name ?? '',
    scenarios: profile.scenarios,
    runs: [],
  };
  if (earlier) refuseOther(earlier, contenders, kit);
  const path = options.resume ?? join(options.out, 'record', `${record.date.slice(0, 19).replaceAll(':', '')}.json`);
  return await measure({
    // A continued record keeps its own settings.
    profile: earlier ? { ...profile, rounds: earlier.rounds, scenarios: earlier.scenarios } : profile,
    contenders,
    record,
    path,
    stage: new Stage(generator, toolbox, cores, options.stun),
  });
}

interface Measurement {
  readonly profile: Profile;
  readonly contenders: readonly Contender[];
  readonly record: RunRecord;
  readonly path: string;
  readonly stage: Stage;
}

async function measure({ profile, contenders, record, path, stage }: Measurement): Promise<number> {
  const progress = new Progress(process.stderr);
  const interrupted = new AbortController();
  const onSignal = () => {
    // A second signal ends a process that the first one did not.
    if (interrupted.signal.aborted) process.exit(130);
    interrupted.abort();
    void stage.close();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal);
  for (const { name, why } of record.absent) progress.say(`${name} is not measured: ${why}`);
  try {
    await runAll(profile, contenders, record, {
      stage,
      progress,
      onRun: () => writeRecord(path, record),
      signal: interrupted.signal,
    });
  } finally {
    progress.clear();
    await stage.close();
  }
  writeRecord(path, record);
  process.stdout.write(table(record, process.stdout.isTTY && process.stdout.hasColors()));
  process.stdout.write(`\n${relative('.', path)}\n`);
  const drawing = picture(record);
  const drawn = path.replace(/\.json$/, '.svg');
  if (drawing !== undefined && drawn !== path) {
    writeFileSync(drawn, drawing);
    process.stdout.write(`${relative('.', drawn)}\n`);
  }
  if (interrupted.signal.aborted) {
    process.stderr.write(`interrupted; --resume ${relative('.', path)} goes on with it\n`);
    return 130;
  }
  return isClean(record) ? 0 : 1;
}

/** Writes the README's picture, and the table for below it to standard output. */
function draw(from: string, out: string): number {
  const record = readRecord(from);
  const drawing = picture(record);
  if (drawing === undefined) throw new Error(`${from} has no contender to compare with`);
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, 'picture.svg'), drawing);
  process.stdout.write(`${markdown(record)}\n`);
  return 0;
}

function chosenProfile({
  quick,
  full,
  narrow,
  tiny,
  scenario = [],
  rounds,
  seconds,
  target,
  tls,
}: BenchOptions): Profile {
  const given = { rounds: positive('--rounds', rounds, true), seconds: positive('--seconds', seconds, false) };
  const named = tiny ? 'tiny' : quick ? 'quick' : full ? 'full' : narrow ? 'narrow' : 'default';
  const profile = profileOf(named, given);
  // A running relay speaks either TLS or plain TCP.
  const spoken = profile.scenarios.filter(({ transport }) => !target || transport === (tls ? 'tls' : 'plain'));
  const scenarios = matching(spoken, scenario);
  if (scenarios.length === 0) {
    throw new Error(`no row matches ${scenario.join(' or ')}; --list lists the rows, --full has the most`);
  }
  return { ...profile, scenarios };
}

/** Leaves out links that the system cannot have, and says why. Throws an Error if it can have none. */
function possible(profile: Profile): Profile {
  refuseElsewhere();
  const wanted = new Set(profile.scenarios.flatMap(({ link }) => (link ? [link.congestion] : [])));
  const reasons = new Map([...wanted].map((congestion) => [congestion, whyNot(congestion)]));
  const words = [...reasons.values()].filter((reason) => reason !== undefined);
  const scenarios = profile.scenarios.filter(({ link }) => !link || reasons.get(link.congestion) === undefined);
  if (scenarios.length === 0) throw new Error(words.join('\n'));
  for (const reason of words) process.stderr.write(`its rows are left out: ${reason}\n`);
  return { ...profile, scenarios };
}

function chosenContenders(options: BenchOptions, generator: string): ReturnType<typeof find> {
  const { contenders: names, target: targets = [], derper, pid, stun } = options;
  if (pid !== undefined && targets.length !== 1) throw new Error('--pid is for one --target');
  const given = targets.map((target) => {
    const [, name = 'target', address = ''] = /^(?:([\w.-]+)=)?(.*)$/.exec(target) ?? [];
    const { host = '', port = 0 } = parseAddress(address) ?? {};
    if (port === 0) throw new Error(`--target ${target}: must be host:port`);
    const process = positive('--pid', pid, true);
    return running(name, host || '127.0.0.1', port, 'it ran already', process, stun !== undefined);
  });
  const wanted = names?.split(',') ?? (targets.length > 0 ? [] : USUAL);
  const unknown = wanted.filter((name) => !(CONTENDERS as readonly string[]).includes(name));
  if (unknown.length > 0)
    throw new Error(`there is no contender ${unknown.join(', ')}; there are ${CONTENDERS.join(', ')}`);
  const found = find(wanted, { generator, derper, derperMissing: process.env[DERPER_MISSING] });
  return { contenders: [...given, ...found.contenders], absent: found.absent };
}

function coresFor(options: BenchOptions, count: number, taskset: boolean): Cores | undefined {
  const { relayCores, generatorCores } = options;
  if (!taskset || (count < 2 && (!relayCores || !generatorCores))) return undefined;
  return { relay: relayCores ?? '0', generator: generatorCores ?? '1' };
}

/** Refuses to add figures of another machine or of other builds to a record. */
function refuseOther(record: RunRecord, contenders: readonly Contender[], kit: RunRecord['machine']): void {
  const told = (facts: unknown) => JSON.stringify(facts);
  if (told(record.machine) !== told(kit)) throw new Error('the record is of another machine, or of other builds');
  const same = told(record.contenders) === told(contenders.map(({ name, about }) => ({ name, about })));
  if (!same) throw new Error('the record has other contenders');
}

function positive(flag: string, text: string | undefined, whole: boolean): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!(value > 0) || (whole && !Number.isInteger(value))) throw new Error(`${flag} ${text}: must be more than 0`);
  return value;
}
