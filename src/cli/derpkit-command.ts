/** The command `derpkit`: a relay with derpkit's own settings, a relay to try out, and further commands. */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import {
  parseAddress,
  parseSettings,
  type RelayConfig,
  SETTINGS,
  type SettingInfo,
  type SettingName,
} from '../config.js';
import { ConfigError } from '../errors.js';
import { selectPlane } from '../plane/select.js';
import { PROTOCOL_VERSION } from '../protocol/wire.js';
import { createRelay, type Relay } from '../relay.js';
import { VERSION } from '../version.js';
import { addBench } from './bench.js';
import { addFleet } from './fleet.js';
import { addHealth } from './health.js';
import { takeSockets, withSockets } from './inherited-sockets.js';
import { announce, explain, inOneLine, pinnedNode, type Spelling, warnOfOpenRelay, warnOfStrays } from './messages.js';
import { runRelay, UnusableSettings } from './run-relay.js';
import { flagOf, type Gathered, gather, settingVariables, strayVariables, variableOf } from './sources.js';
import { addTap } from './tap.js';
import { addTop } from './top.js';

/** Settings without a flag: every user of the machine can read the command line of a process. */
const SECRETS: readonly SettingName[] = ['privateKey', 'meshKey', 'acme.eabKey', 'nats.servers'];
/** Settings without a flag, because each is a list of objects; and where each is documented. */
const LISTS = SETTINGS.filter(({ kind }) => kind === 'objects');
const DOCUMENTS: Readonly<Record<string, string>> = {
  certificates: 'docs/certificates.md',
  'mesh.discover': 'docs/fleet.md',
  'admission.verifiers': 'docs/admission.md',
};
/** Settings whose variables `start` reads. They change how it runs and which clients may use it, but not what it promises to serve. */
const START_SETTINGS: readonly SettingName[] = [
  ...(['dataDir', 'plane', 'logFormat', 'logLevel', 'disallowAppNames'] as const),
  ...SETTINGS.map(({ name }) => name).filter((name) => name.startsWith('admission.')),
];
/** Loopback names, which are useless to other machines. */
const LOOPBACK = /^(?:localhost|127\..*|::1)$/;

const program = new Command('derpkit')
  .description('A DERP relay for Tailscale and headscale.')
  .version(VERSION, '--version', 'print the version')
  .configureHelp({ helpWidth: Number.MAX_SAFE_INTEGER })
  .configureOutput({ outputError: (text, write) => write(withConfig(withoutValue(text))) })
  .exitOverride((error) => {
    process.exit(error.exitCode === 0 ? 0 : 2);
  });

const serve = program
  .command('serve')
  .description('run a relay')
  .option('--config <file>', `settings in JSON with comments or YAML (default: ${variableOf('config')}, if set)`)
  .addHelpText('after', () => {
    const [last, ...others] = SECRETS.map(variableOf).reverse();
    const lists = LISTS.map(({ name }) => `  ${name.padEnd(20)} ${variableOf(name).padEnd(29)} ${DOCUMENTS[name]}`);
    return `
Lists of objects have no flags: they are for the file, or are JSON in a variable. The package has their documentation.
${lists.join('\n')}

The flag --http-port has the variable ${variableOf('httpPort')} and the name httpPort in the file. A flag overrides a
variable, and a variable overrides the file. --limits-connections is "connections" in an object "limits" of the file.
${others.reverse().join(', ')} and ${last} have no flags.`;
  })
  .action(async (flags: Record<string, unknown>) => {
    process.exitCode = await run(flags);
  });
serve.configureOutput({ outputError: (text, write) => write(withSwitch(withConfig(withoutValue(text)))) });
for (const setting of SETTINGS) {
  if (!SECRETS.includes(setting.name)) for (const option of optionsOf(setting)) serve.addOption(option);
}

program
  .command('start')
  .description('run a relay to try out: unprivileged ports, its own certificate; print a DERP map for a tailnet')
  .option('--host <name>', 'name or address that clients use', 'localhost')
  .option('--port <port>', 'TLS port', '8443')
  .option('--http-port <port>', 'plain HTTP port, -1 for none', '8080')
  .option('--stun-port <port>', 'STUN port', '3478')
  .option('--data-dir <directory>', 'directory of key and certificate')
  .action(async (options: StartOptions) => {
    process.exitCode = await start(options);
  });

program
  .command('version')
  .description('print version, protocol and data plane')
  .action(async () => {
    process.exitCode = await version();
  });

addHealth(program);
addTap(program);
addTop(program);
addFleet(program);
addBench(program);

// After a mistyped command the help is short enough to show; after a mistyped option it is too long.
program.showHelpAfterError();
for (const command of program.commands)
  command.showHelpAfterError(`derpkit ${command.name()} --help lists the options.`);

if (process.argv.length > 2) await program.parseAsync();
else program.outputHelp();

async function run(flags: Record<string, unknown>): Promise<number> {
  // Until the sources of the settings are known, problems keep their paths.
  let spelling: Spelling = (place) => place;
  try {
    const gathered = await gather(flags, process.env);
    spelling = withSockets(gathered.spelling);
    const relay = createRelay(gathered.config, { sockets: takeSockets(process.env) });
    const onStarted = () => {
      warnOfStrays(relay, gathered.strayVariables);
      announce(relay, `derpkit ${VERSION}`, spelling, pinned(relay, gathered.config));
    };
    return await runRelay(relay, onStarted, rereading(relay, flags, gathered), { tellsEnd: true });
  } catch (error) {
    process.stderr.write(explain('derpkit', error, spelling));
    return 1;
  }
}

/** What SIGHUP does: the settings file is read again, and flags and variables override it as they did at the start. */
function rereading(
  relay: Relay,
  flags: Record<string, unknown>,
  { file }: Gathered,
): (() => Promise<void>) | undefined {
  if (file === undefined) return relay.reloads ? () => relay.reload().then(() => {}) : undefined;
  return async () => {
    let spelling: Spelling = (place) => place;
    try {
      const gathered = await gather(flags, process.env);
      spelling = gathered.spelling;
      const { applied } = await relay.reload(gathered.config);
      if (applied.length > 0) relay.logger.info({ settings: applied.join() }, 'changed settings are in force');
    } catch (error) {
      throw error instanceof ConfigError ? new UnusableSettings(inOneLine(error, spelling)) : error;
    }
  };
}

/** The DERP map node that clients need for a self-signed certificate. */
function pinned(relay: Relay, config: RelayConfig): object | undefined {
  const { hostname = 'localhost', certMode = 'self-signed', certificates } = config;
  const { address, fingerprint } = relay;
  const isPinned =
    certMode === 'self-signed' ? certificates === undefined : certMode === 'manual' && isIP(hostname) !== 0;
  if (!address || !fingerprint || !isPinned) return undefined;
  const { derp, stun } = address;
  return {
    ...pinnedNode(hostname, fingerprint),
    ...(derp.port !== 443 && { DERPPort: derp.port }),
    ...(stun?.port !== 3478 && { STUNPort: stun?.port ?? -1 }),
  };
}

interface StartOptions {
  readonly host: string;
  readonly port: string;
  readonly httpPort: string;
  readonly stunPort: string;
  readonly dataDir?: string;
}

async function start({ host, port, httpPort, stunPort, dataDir }: StartOptions): Promise<number> {
  const chosen = { hostname: host, listen: `:${port}`, httpPort, stunPort, ...(dataDir !== undefined && { dataDir }) };
  const used = new Map(Object.entries(chosen).map(([name, value]) => [variableOf(name as SettingName), value]));
  const read = START_SETTINGS.map(variableOf);
  const { config, spelling } = await gather(chosen, Object.fromEntries(read.map((name) => [name, process.env[name]])));
  const spelt: Spelling = (setting) => ({ hostname: '--host', listen: '--port' })[setting] ?? spelling(setting);
  // npm takes options in front of its `--` for itself.
  const command = process.env.npm_lifecycle_event === 'start' ? 'npm start -- ' : '';
  try {
    if (!/^\d+$/.test(port) || !parseAddress(`:${port}`))
      throw new ConfigError([{ path: 'listen', message: 'must be a port from 0 to 65535' }]);
    const relay = createRelay({ logLevel: 'warn', ...config });
    // A terminal that is closed takes its output with it, and ends no relay.
    process.stdout.on('error', () => {});
    // It has a parser of YAML with it, for which `serve` may have no use.
    const maps = await import('./derp-map.js');
    const onStarted = () => {
      process.stdout.write(summary(relay, host, command, maps));
      warnOfStrays(relay, strayVariables(process.env));
      const ignored = settingVariables(process.env).filter(
        (name) => !read.includes(name) && process.env[name] !== used.get(name),
      );
      if (ignored.length > 0)
        relay.logger.warn(`derpkit start ignores ${ignored.join(', ')}; derpkit serve reads them`);
      warnOfOpenRelay(relay, variableOf('admission.verifiers'));
    };
    const rereads = relay.reloads ? () => relay.reload().then(() => {}) : undefined;
    return await runRelay(relay, onStarted, rereads, { tellsEnd: true });
  } catch (error) {
    process.stderr.write(explain('derpkit', error, spelt, command));
    return 1;
  }
}

/** The next steps of the operator. */
function summary(relay: Relay, host: string, command: string, maps: typeof import('./derp-map.js')): string {
  const { derp, http, stun } = relay.address as NonNullable<Relay['address']>;
  const facts = {
    host,
    derpPort: derp.port,
    stunPort: stun?.port ?? -1,
    fingerprint: relay.fingerprint ?? '',
  };
  const name = host.includes(':') ? `[${host}]` : host;
  const alone = `  For clients on other machines: ${command || 'derpkit start '}--host <name or address of this one>\n`;
  return `derpkit ${VERSION} is running. Ctrl-C ends it.

  relay     https://${name}:${derp.port}/derp
${http ? `  http      http://${name}:${http.port}/\n` : ''}${stun ? `  stun      ${name}:${stun.port}/udp\n` : ''}  node key  ${relay.publicKey}
  plane     ${relay.plane.kind} (${relay.plane.reason})
  data      ${resolve(relay.dataDir)}
${LOOPBACK.test(host) ? `\n${alone}` : ''}
For Tailscale, in the tailnet policy file:

${maps.policyDerpMap(facts)}

For headscale, in a file named under derp.paths:

${maps.headscaleDerpMap(facts)}`;
}

async function version(): Promise<number> {
  process.stdout.write(`derpkit ${VERSION}\nprotocol: ${PROTOCOL_VERSION}\n`);
  const { config, spelling } = await gather({}, { [variableOf('plane')]: process.env[variableOf('plane')] });
  try {
    const { kind, reason } = selectPlane(parseSettings(config).plane);
    process.stdout.write(`plane: ${kind} (${reason})\n`);
    return 0;
  } catch (error) {
    process.stderr.write(explain('derpkit', error, spelling));
    return 1;
  }
}

/** The message for a faulty option, without its value: the value of an unknown option may be a secret. */
function withoutValue(text: string): string {
  const [, beginning, option = ''] = /^(error: unknown option ')(-[\s\S]*)/.exec(text) ?? [];
  if (!beginning) return text;
  if (option.startsWith('--') && !/^[^'\n]*=/.test(option)) return text;
  const name = option.startsWith('--') ? option.split('=', 1)[0] : option.slice(0, 2);
  return `${beginning}${name}'\n`;
}

/** A switch of `serve` is unknown with a value alone: `--stun=false` is `--no-stun`. */
function withSwitch(text: string): string {
  const [, option] = /^error: unknown option '([^']*)'/.exec(text) ?? [];
  for (const { name, kind } of SETTINGS) {
    if (kind !== 'boolean') continue;
    const [on, off] = [flagOf(name), flagOf(name, true)];
    if (option === on) return `error: option '${on}' takes no value; ${off} turns it off\n`;
    if (option === off) return `error: option '${off}' takes no value; ${on} turns it on\n`;
  }
  return text;
}

/** Tells a user that gave `serve` the settings file alone how to name it. */
function withConfig(text: string): string {
  const isStray = text.startsWith("error: too many arguments for 'serve'");
  return isStray
    ? `${text.trimEnd()}\nA settings file is named with --config: derpkit serve --config relay.yaml\n`
    : text;
}

function optionsOf({ name, description, fallback, kind }: SettingInfo): Option[] {
  if (kind === 'objects') return [];
  if (kind === 'boolean') {
    // A setting that is on by default has a flag to turn it off, and one to turn it on again over a variable or the
    // file. The order matters: with `--no-x` alone, commander sets x to true, and that would override variables and
    // file.
    const on = new Option(flagOf(name), description);
    const off = new Option(flagOf(name, true), `do not ${description}`);
    return fallback === 'true' ? [on.hideHelp(), off] : [on, off.hideHelp()];
  }
  const shown = fallback === '' ? '' : ` (default: ${fallback})`;
  return [new Option(`${flagOf(name)} <value>`, description + shown)];
}
