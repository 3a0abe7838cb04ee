/** derper's 35 flags: names, types, defaults, and their settings here. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { SettingName } from '../config.js';
import type { GoFlag } from './goflags.js';

export interface DerperFlag extends GoFlag {
  /**
   * The setting of the flag; `special` if `derper-command.ts` derives settings from it. Absent if the flag is refused.
   */
  readonly setting?: SettingName | 'special';
  /** Why derpkit will not have the flag, and what to do instead: any value but its default ends the start. */
  readonly refused?: string;
}

const NO_ACE =
  'derpkit does not have it: it makes the relay a proxy to the control servers of tailscale.com, which send clients ' +
  'through relays of their own alone; remove the flag';
const NO_SETEC =
  'derpkit does not have it: it reads the mesh key from setec, a server of secrets that Tailscale runs for itself; ' +
  'give the key in a file with -mesh-psk-file';

/**
 * The flags, with the defaults that these variables and the machine's files give. As in derper, only HOME names the
 * home directory.
 */
export function derperFlags({ HOME = '', XDG_CACHE_HOME }: NodeJS.ProcessEnv): readonly DerperFlag[] {
  const cacheDir = XDG_CACHE_HOME || (HOME && join(HOME, '.cache'));
  return [
    flag(
      'a',
      'string',
      ':443',
      'listen address (":port", "ip:port", "[ip]:port"); HTTPS if the port is 443 or -certmode is manual, else HTTP',
      'listen',
    ),
    flag(
      'accept-connection-burst',
      'int',
      '9223372036854775807',
      'connections accepted at once, beyond -accept-connection-limit',
      'acceptConnectionBurst',
    ),
    flag('accept-connection-limit', 'float', '+Inf', 'connections accepted per second', 'acceptConnectionLimit'),
    refused('ace', 'bool', '', 'refused: serve CONNECT requests for control servers (experimental)', NO_ACE),
    flag(
      'acme-eab-key',
      'string',
      '',
      'ACME external account HMAC key in base64, needed for -certmode=gcp',
      'acme.eabKey',
    ),
    flag('acme-eab-kid', 'string', '', 'ACME external account key id, needed for -certmode=gcp', 'acme.eabKid'),
    flag('acme-email', 'string', '', 'ACME account contact, needed for -certmode=gcp', 'acme.email'),
    flag('acme-ip-certs', 'bool', '', 'get certificates for the IP addresses that clients connect to', 'acme.ipCerts'),
    flag(
      'bootstrap-dns-names',
      'string',
      '',
      'comma-separated names to publish at /bootstrap-dns',
      'bootstrapDnsNames',
    ),
    flag(
      'c',
      'string',
      '',
      'key file; the relay makes it if it is missing. Root may leave it out: /var/lib/derper/derper.key',
      'keyFile',
    ),
    flag(
      'certdir',
      'string',
      cacheDir && join(cacheDir, 'tailscale', 'derper-certs'),
      'directory of certificates',
      'certDir',
    ),
    flag('certmode', 'string', 'letsencrypt', 'where certificates come from: manual, letsencrypt, gcp', 'special'),
    flag('derp', 'bool', 'true', 'relay packets; false leaves STUN and HTTP', 'derp'),
    flag('dev', 'bool', '', 'development: a new key at each start, port 3340, plain HTTP; overrides -a', 'special'),
    flag('disallow-app-names', 'string', '', 'comma-separated app names whose clients are refused', 'disallowAppNames'),
    flag(
      'home',
      'string',
      '',
      'what / shows: empty for a page about the relay, "blank", or a URL to redirect to',
      'home',
    ),
    flag(
      'hostname',
      'string',
      'derp.tailscale.com',
      'name of the certificate; it can be an IP address with -certmode=manual or -acme-ip-certs',
      'hostname',
    ),
    flag('http-port', 'int', '80', 'port of plain HTTP beside HTTPS, on the same IP as -a; -1 for none', 'httpPort'),
    flag('mesh-psk-file', 'string', defaultMeshKeyFile(HOME), 'file with the mesh key, 64 hex digits', 'meshKeyFile'),
    flag(
      'mesh-with',
      'string',
      '',
      'comma-separated relays to mesh with, "host[:port]" or "host[:port]/dialhost"',
      'meshWith',
    ),
    flag(
      'rate-config',
      'string',
      '',
      'JSON file with receive rate limits, read again on SIGHUP (experimental)',
      'rateConfig',
    ),
    refused(
      'secrets-cache-dir',
      'string',
      join(HOME, '.cache', 'derper-secrets'),
      'refused: directory of secrets from -secrets-url',
      NO_SETEC,
    ),
    refused(
      'secrets-path-prefix',
      'string',
      'prod/derp',
      'refused: prefix of the name of the mesh key secret',
      NO_SETEC,
    ),
    refused('secrets-url', 'string', '', 'refused: setec server to get the mesh key from', NO_SETEC),
    flag('socket', 'string', '', 'socket of tailscaled, for -verify-clients', 'special'),
    flag('stun', 'bool', 'true', 'answer STUN, on the same IP as -a', 'stun'),
    flag('stun-port', 'int', '3478', 'UDP port of STUN', 'stunPort'),
    flag('tcp-keepalive-time', 'duration', '10m0s', 'TCP keepalive idle time', 'tcpKeepaliveTime'),
    flag('tcp-user-timeout', 'duration', '15s', 'how long sent data may stay unacknowledged', 'tcpUserTimeout'),
    flag(
      'tcp-write-timeout',
      'duration',
      '2s',
      'how long a write to a client may make no progress; 0 for no limit',
      'tcpWriteTimeout',
    ),
    flag(
      'unpublished-bootstrap-dns-names',
      'string',
      '',
      'names that /bootstrap-dns answers only when asked for, "name" or "name/txt-name"',
      'unpublishedBootstrapDnsNames',
    ),
    flag(
      'verify-client-url',
      'string',
      '',
      'URL of the admission controller that says whether a client may connect',
      'special',
    ),
    flag(
      'verify-client-url-fail-open',
      'bool',
      'true',
      'admit clients while -verify-client-url cannot be reached',
      'special',
    ),
    flag('verify-clients', 'bool', '', 'admit only clients that the local tailscaled knows', 'special'),
    flag('version', 'bool', '', 'print the version and exit', 'special'),
  ];
}

function flag(
  name: string,
  type: GoFlag['type'],
  fallback: string,
  usage: string,
  setting?: DerperFlag['setting'],
): DerperFlag {
  return { name, type, fallback, usage, ...(setting && { setting }) };
}

function refused(name: string, type: GoFlag['type'], fallback: string, usage: string, refused: string): DerperFlag {
  return { name, type, fallback, usage, refused };
}

function defaultMeshKeyFile(home: string): string {
  const candidates = ['/home/derp/keys/derp-mesh.key', join(home, 'keys', 'derp-mesh.key')];
  return candidates.find((path) => existsSync(path)) ?? '';
}
