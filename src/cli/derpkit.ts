#!/usr/bin/env node
/** `derpkit`: the relay with settings of its own, a relay to try out, and what version this is. */
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { parseSettings, SETTINGS, type SettingInfo } from '../config.js';
import { selectPlane } from '../plane/select.js';
import { PROTOCOL_VERSION } from '../protocol/wire.js';
import { createRelay, type Relay } from '../relay.js';
import { VERSION } from '../version.js';
import { headscaleDerpMap, policyDerpMap } from './derp-map.js';
import { flagOf, gather, variableOf } from './sources.js';
import { explain, runUntilSignal, type Spelling } from './terminal.js';

const program = new Command('derpkit')
  .description('A DERP relay for Tailscale and headscale.')
  .configureHelp({ helpWidth: Number.MAX_SAFE_INTEGER })
  .exitOverride((error) => {
    process.exit(error.exitCode === 0 ? 0 : 2);
  });

const serve = program
  .command('serve')
  .description('run a relay')
  .option('--config <file>', 'JSON with comments, or YAML', process.env.DERPKIT_CONFIG)
  .addHelpText(
    'after',
    `\nA variable is named like its flag: ${variableOf('httpPort')}. Flags win over variables over the file.`,
  )
  .action(async ({ config: configFile, ...flags }: { config?: string }) => {
    process.exitCode = await run(flags, configFile);
  });
for (const setting of SETTINGS) {
  // The command line of a process is no place for secrets: anyone on the machine can read it.
  if (setting.name !== 'privateKey' && setting.name !== 'meshKey') serve.addOption(optionOf(setting));
}

program
  .command('start')
  .description('run a relay to try out: unprivileged ports, its own certificate; prints what a tailnet needs')
  .option('--host <name>', 'name or address that clients use', 'localhost')
  .option('--port <port>', 'TLS port', '8443')
  .option('--http-port <port>', 'plain HTTP port, -1 for none', '8080')
  .option('--stun-port <port>', 'STUN port', '3478')
  .option('--data-dir <directory>', 'where key and certificate are kept')
  .action(async (options: StartOptions) => {
    process.exitCode = await start(options);
  });

program
  .command('version')
  .description('print version, protocol and data plane')
  .action(() => {
    process.exitCode = version();
  });

await program.parseAsync();

async function run(flags: Record<string, unknown>, configFile: string | undefined): Promise<number> {
  let spelling: Spelling = flagOf;
  try {
    const gathered = gather(flags, process.env, configFile);
    spelling = gathered.spelling;
    const relay = createRelay(gathered.config);
    return await runUntilSignal(relay, () => {
      relay.logger.info(
        { ...relay.address, key: relay.publicKey, plane: relay.plane.kind },
        `derpkit ${VERSION} is running`,
      );
    });
  } catch (error) {
    process.stderr.write(explain('derpkit', error, spelling));
    return 1;
  }
}

interface StartOptions {
  readonly host: string;
  readonly port: string;
  readonly httpPort: string;
  readonly stunPort: string;
  readonly dataDir?: string;
}

async function start({ host, port, httpPort, stunPort, dataDir }: StartOptions): Promise<number> {
  const flags = { hostname: host, listen: `:${port}`, httpPort, stunPort, ...(dataDir && { dataDir }) };
  const spelling: Spelling = (setting) => ({ hostname: '--host', listen: '--port' })[setting] ?? flagOf(setting);
  try {
    const { config } = gather(flags, process.env, undefined);
    const relay = createRelay({ logLevel: 'warn', ...config });
    return await runUntilSignal(relay, () => {
      process.stdout.write(summary(relay, host));
    });
  } catch (error) {
    process.stderr.write(explain('derpkit', error, spelling));
    return 1;
  }
}

/** What an operator needs next. */
function summary(relay: Relay, host: string): string {
  const { derp, http, stun } = relay.address as NonNullable<Relay['address']>;
  const facts = {
    host,
    derpPort: derp.port,
    stunPort: stun?.port ?? -1,
    fingerprint: relay.fingerprint ?? '',
  };
  const name = host.includes(':') ? `[${host}]` : host;
  return `derpkit ${VERSION} is running. Ctrl-C ends it.

  relay     https://${name}:${derp.port}/derp
${http ? `  http      http://${name}:${http.port}/\n` : ''}${stun ? `  stun      ${name}:${stun.port}/udp\n` : ''}  node key  ${relay.publicKey}
  plane     ${relay.plane.kind} (${relay.plane.reason})
  data      ${resolve(relay.dataDir)}

For Tailscale, in the tailnet policy file:

${policyDerpMap(facts)}

For headscale, in a file named under derp.paths:

${headscaleDerpMap(facts)}`;
}

function version(): number {
  process.stdout.write(`derpkit ${VERSION}\nprotocol: ${PROTOCOL_VERSION}\n`);
  const { config, spelling } = gather({}, { DERPKIT_PLANE: process.env.DERPKIT_PLANE }, undefined);
  try {
    const { kind, reason } = selectPlane(parseSettings(config).plane);
    process.stdout.write(`plane: ${kind} (${reason})\n`);
    return 0;
  } catch (error) {
    process.stderr.write(explain('derpkit', error, spelling));
    return 1;
  }
}

function optionOf({ name, description, fallback, kind }: SettingInfo): Option {
  // A boolean that is on by default needs a flag to turn it off, and none to turn it on.
  if (kind === 'boolean') return new Option(flagOf(name, fallback === 'true'), description).default(undefined);
  const shown = fallback === '' ? '' : ` (default ${fallback})`;
  return new Option(`${flagOf(name)} <value>`, description + shown);
}
