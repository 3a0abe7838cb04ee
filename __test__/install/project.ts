/** Projects of users: empty ones, into which the package is installed from the registry of the tests. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { Command, type Result } from '../cli/commands.js';
import { keyOf, logIn, portOf } from '../cli/reach.js';
import type { Registry } from './registry.js';

export const PATIENCE = 240_000;
/** The command, in a project with a folder of modules. */
export const BIN = 'node_modules/derpkit/dist/cli/derpkit.js';

const SERVE = ['serve', '--listen=127.0.0.1:0', '--http-port=-1', '--no-stun'];
const PLAIN = { service: 'DERP over plain HTTP', mode: 'off', tls: undefined } as const;
const TLS = { service: 'DERP over TLS', mode: 'self-signed', tls: { rejectUnauthorized: false } } as const;

/** An empty project, and commands in it that know the registry and no other. */
export class Project {
  readonly directory: string;
  private readonly env: Readonly<Record<string, string>>;

  constructor(registry: Registry, files: Readonly<Record<string, string>> = {}) {
    this.directory = mkdtempSync(join(registry.directory, 'project-'));
    this.env = {
      HOME: this.directory,
      npm_config_registry: registry.url,
      npm_config_update_notifier: 'false',
      npm_config_cache: join(registry.directory, 'npm-cache'),
      YARN_NPM_REGISTRY_SERVER: registry.url,
      YARN_UNSAFE_HTTP_WHITELIST: '127.0.0.1',
      YARN_ENABLE_TELEMETRY: '0',
      YARN_ENABLE_GLOBAL_CACHE: 'false',
      // New releases are held back for some days by default.
      YARN_NPM_MINIMAL_AGE_GATE: '0',
      BUN_CONFIG_REGISTRY: registry.url,
      CI: '',
    };
    this.write('package.json', '{"name":"project","version":"1.0.0","private":true}\n');
    for (const [name, text] of Object.entries(files)) this.write(name, text);
  }

  write(name: string, text: string): void {
    mkdirSync(join(this.directory, name, '..'), { recursive: true });
    writeFileSync(join(this.directory, name), text);
  }

  command(...line: readonly [string, ...string[]]): Command {
    return new Command(line, { cwd: this.directory, env: this.env, patience: PATIENCE, group: true });
  }

  async run(...line: readonly [string, ...string[]]): Promise<Result> {
    const result = await this.command(...line).end();
    expect(result.code, `${line.join(' ')}: ${result.stderr}${result.stdout}`).toBe(0);
    return result;
  }

  /** Serves with this command, and expects a packet to get through. */
  relays(plane: 'native' | 'js', ...line: readonly [string, ...string[]]): Promise<Command> {
    return this.serves(plane, line, PLAIN);
  }

  /** The same over TLS. `further` is done with the relay before it ends. */
  relaysOverTls(
    plane: 'native' | 'js',
    line: readonly [string, ...string[]],
    further?: (port: number) => Promise<void>,
  ): Promise<Command> {
    return this.serves(plane, line, TLS, further);
  }

  private async serves(
    plane: 'native' | 'js',
    line: readonly [string, ...string[]],
    { service, mode, tls }: typeof PLAIN | typeof TLS,
    further?: (port: number) => Promise<void>,
  ): Promise<Command> {
    const data = ['--data-dir', join(this.directory, 'data')];
    const relay = this.command(...line, ...SERVE, `--cert-mode=${mode}`, ...data);
    const port = await portOf(relay, service);
    const key = await keyOf(relay);
    const [from, to] = [await logIn(port, key, tls), await logIn(port, key, tls)];
    from.sendPacket(to.key, 'through it');
    expect(await to.expectPacket('through it')).toBe(from.key);
    expect(relay.stderr).toContain(`plane=${plane}`);
    await further?.(port);
    await relay.interruptGroup();
    return relay;
  }
}
