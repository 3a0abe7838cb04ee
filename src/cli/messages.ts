/** The messages of the commands: about a started relay, and about errors. */
import { SETTINGS } from '../config.js';
import { ConfigError, DerpkitError, ListenError, type ListenSetting, type Problem, reasonOf } from '../errors.js';
import { formatEndpoint } from '../protocol/endpoint.js';
import type { Relay } from '../relay.js';
import { escapedLine } from './terminal-text.js';

/** Spells a setting as the user did: a flag, a variable, a line of a file. */
export type Spelling = (setting: string) => string;

/** The first region id that Tailscale leaves to its users. */
export const REGION_ID = 900;

/**
 * A DERPNode as derper logs it: what clients need to know of a relay with a self-signed certificate on the usual ports.
 */
export function pinnedNode(host: string, fingerprint: string): object {
  return { Name: 'custom', RegionID: REGION_ID, HostName: host, CertName: `sha256-raw:${fingerprint}` };
}

/** Logs what an operator looks for after a start. `node` is for a certificate that clients pin. */
export function announce(relay: Relay, program: string, spelling: Spelling, node: object | undefined): void {
  const { logger, plane, publicKey } = relay;
  const { derp, http, stun, metrics } = relay.address ?? {};
  // The reason for the native plane is the file of its addon.
  const why = plane.kind === 'native' ? { file: plane.reason } : { reason: plane.reason };
  const facts = { plane: plane.kind, ...why, key: publicKey };
  if (plane.fallback) logger.warn(facts, `${program}, on the JavaScript plane: the native plane cannot be used`);
  else logger.info(facts, program);
  if (plane.kind === 'js') {
    const emulated = `${spelling('tcpKeepaliveTime')} and ${spelling('tcpUserTimeout')}`;
    logger.info(`the JavaScript plane emulates ${emulated}: Node sets only the idle time`);
  }
  const spelt = spelling('admission.verifiers');
  const inFile = spelt.startsWith('DERPKIT_') ? ' (in a settings file, admission.verifiers)' : '';
  warnOfOpenRelay(relay, `${spelt}${inFile}`);
  if (derp) {
    logger.info(
      { addr: formatEndpoint(derp.address, derp.port) },
      `serving DERP over ${derp.tls ? 'TLS' : 'plain HTTP'}`,
    );
  }
  if (http) logger.info({ addr: formatEndpoint(http.address, http.port) }, 'serving HTTP');
  if (stun) logger.info({ addr: formatEndpoint(stun.address, stun.port) }, 'serving STUN');
  if (metrics) logger.info({ addr: formatEndpoint(metrics.address, metrics.port) }, 'serving metrics');
  if (node) logger.info(`a DERPNode for this certificate: ${JSON.stringify(node)}`);
}

/** Warns once that the relay admits every client, if other machines can reach it. `setting` is what restricts that. */
export function warnOfOpenRelay({ address, admitsEverybody, logger }: Relay, setting: string): void {
  if (!address || !admitsEverybody || isLoopback(address.derp.address)) return;
  logger.warn(`every client that can reach this relay may use it; ${setting} restricts that`);
}

/** Warns of variables that are spelt like settings and name none. */
export function warnOfStrays({ logger }: Relay, strays: ReadonlyMap<string, string | undefined>): void {
  for (const [name, meant] of strays) {
    const hint = meant ? `; did you mean ${meant}?` : '';
    logger.warn(`the variable ${name} names no setting, and is ignored${hint}`);
  }
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

/**
 * One line for each problem, with the user's spelling of the setting; a stack only for faults of derpkit. `command` is
 * what a flag must follow, if that is not obvious.
 */
export function explain(program: string, error: unknown, spelling: Spelling, command = ''): string {
  if (error instanceof ConfigError) {
    return error.problems.map((problem) => `${program}: ${told(problem, spelling)}\n`).join('');
  }
  if (error instanceof ListenError) {
    return `${program}: ${error.message}: ${listenAdvice(error, (setting) => command + spelling(setting))}\n`;
  }
  if (error instanceof DerpkitError && error.code === 'ERR_NATIVE_UNAVAILABLE') {
    return `${program}: ${spelling('plane')}: ${error.message}\n`;
  }
  if (error instanceof Error && 'code' in error) return `${program}: ${error.message}\n`;
  return `${program}: ${error instanceof Error ? error.stack : String(error)}\n`;
}

/** Everything that is wrong with settings, in one line of the log. */
export function inOneLine({ problems }: ConfigError, spelling: Spelling): string {
  return problems.map((problem) => told(problem, spelling)).join('; ');
}

/** A settings file may have any names, and its faults are told in a terminal. */
function told({ path, message }: Problem, spelling: Spelling): string {
  return escapedLine(`${spelt(path, spelling)}: ${message}`);
}

/** A path is a setting, or leads into one: `certificate.key` is part of the setting `certificate`. */
function spelt(path: string, spelling: Spelling): string {
  const names = ['certificate', ...SETTINGS.map(({ name }) => name)];
  const setting = names.find((name) => path.startsWith(`${name}.`)) ?? path;
  return spelling(setting) + path.slice(setting.length);
}

const WAYS_OUT: Record<ListenSetting, string> = {
  listen: 'another port',
  httpPort: 'another port, or -1 for none,',
  stunPort: 'another port',
  'metrics.listen': 'another port',
};

/** Errors of the address, which may be a name. All listeners but that of metrics use the host of `listen`. */
const WRONG_ADDRESS = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL', 'ENOTFOUND', 'EAI_AGAIN', 'ENODATA']);

function listenAdvice({ setting, cause }: ListenError, spelling: Spelling): string {
  const { code } = cause as NodeJS.ErrnoException;
  const choose = `choose ${WAYS_OUT[setting]} with ${spelling(setting)}`;
  if (code === 'EADDRINUSE') return `the port is already in use; ${choose}`;
  if (code === 'EACCES') {
    return `the port needs privileges: allow it with CAP_NET_BIND_SERVICE (AmbientCapabilities= of a unit), or ${choose}`;
  }
  if (code !== undefined && WRONG_ADDRESS.has(code)) {
    if (setting === 'metrics.listen')
      return `${reasonOf(cause)}; choose an address of this machine with ${spelling(setting)}`;
    return `${reasonOf(cause)}; choose an address of this machine, or leave the address out for all, with ${spelling('listen')}`;
  }
  return `${reasonOf(cause)}; ${choose}`;
}
