/**
 * The contenders: relays that are compared, how each is started with equal settings, and which of them are available.
 */
import { fileURLToPath } from 'node:url';
import { selectPlane } from '../plane/select.js';
import { VERSION } from '../version.js';
import { say } from './machine.js';
import type { Absent, Participant } from './record.js';
import type { Scenario } from './scenarios.js';

/** Ports and files of one relay in one run. */
export interface Place {
  readonly port: number;
  /** The address to listen at; loopback if absent. */
  readonly host?: string;
  readonly stunPort?: number;
  readonly keyFile: string;
  /** The directory with the certificate for {@link HOSTNAME}; absent for plain TCP. */
  readonly certDir?: string;
  readonly workers?: number;
  /** The relay to mesh with. */
  readonly mesh?: { readonly port: number; readonly keyFile: string; readonly authority: string };
}

export interface Command {
  readonly argv: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
}

/** A contender: a relay that the benchmark starts, or one that runs already. */
export interface Contender extends Participant {
  /** Absent for a relay that runs already. */
  readonly command?: (place: Place) => Command;
  readonly address?: { readonly host: string; readonly port: number };
  /** The process of a relay that runs on this machine already. */
  readonly pid?: number;
  /** Speaks plain TCP where the scenario has TLS, and does the work of TLS all the same. */
  readonly inTheClear?: true;
  /** Whether the scenario can measure it. */
  readonly takes: (scenario: Scenario) => boolean;
}

/** The name in the test certificate, which the generator asks for. */
export const HOSTNAME = 'bench.test';

/** Flags that derper and derpkit's `derper` share. */
function flags({ port, host = '127.0.0.1', stunPort, keyFile, certDir, mesh }: Place): string[] {
  return [
    ...['-a', `${host}:${port}`, '-http-port', '-1', '-c', keyFile],
    ...(stunPort === undefined ? ['-stun=false'] : ['-stun', '-stun-port', String(stunPort)]),
    ...(certDir === undefined ? [] : ['-certmode', 'manual', '-certdir', certDir, '-hostname', HOSTNAME]),
    ...(mesh ? ['-mesh-psk-file', mesh.keyFile, '-mesh-with', `${HOSTNAME}:${mesh.port}/127.0.0.1`] : []),
  ];
}

function ours(name: 'native' | 'js', about: string): Contender {
  const program = fileURLToPath(new URL('../cli/derper.js', import.meta.url));
  return {
    name,
    about,
    command: (place) => ({
      argv: [process.execPath, program, ...flags(place)],
      env: {
        DERPKIT_PLANE: name,
        ...trusting(place),
        ...(place.workers !== undefined && { DERPKIT_WORKERS: String(place.workers) }),
      },
    }),
    takes: ({ workers }) => name === 'native' || workers === undefined,
  };
}

/** Makes meshed relays trust each other's certificate, and no other. */
function trusting({ mesh }: Place): Record<string, string> {
  return mesh ? { SSL_CERT_FILE: mesh.authority } : {};
}

/** Tailscale's derper, by path or name. */
function derper(path: string): Contender | undefined {
  const version = say(path, ['-version']);
  // derpkit has a program of this name, which may be the one found.
  if (version === undefined || version === VERSION) return undefined;
  return {
    name: 'derper',
    about: `Tailscale's ${version.split(/[\s-]/)[0]}, ${goVersion(path)}`,
    command: (place) => ({ argv: [path, ...flags(place)], env: trusting(place) }),
    takes: ({ workers }) => workers === undefined,
  };
}

function goVersion(path: string): string {
  const built = say('go', ['version', path])?.split(' ').at(-1);
  return built ? `built with ${built}` : 'built elsewhere';
}

/** What the floor can do. */
const FLOOR_FAMILIES: readonly Scenario['family'][] = ['relay', 'fan-in', 'fan-out', 'stun', 'mesh'];

/** The lower bound of cost: a part of the generator that receives, opens and seals as many bytes as TLS, and sends. */
function floor(generator: string): Contender {
  return {
    name: 'floor',
    about: 'receives and sends, and nothing else',
    command: ({ port, stunPort, certDir, mesh }) => ({
      argv: [
        ...([generator, 'floor', '--listen', `127.0.0.1:${port}`] as const),
        ...(certDir === undefined ? [] : ['--aead']),
        ...(stunPort === undefined ? [] : ['--stun', `127.0.0.1:${stunPort}`]),
        ...(mesh === undefined ? [] : ['--peer', `127.0.0.1:${mesh.port}`]),
      ],
    }),
    inTheClear: true,
    takes: ({ family }) => FLOOR_FAMILIES.includes(family),
  };
}

export const CONTENDERS = ['native', 'js', 'derper', 'floor'] as const;
/** The default contenders. The floor is no usable relay: it shows how far any relay could get with these system calls. */
export const USUAL: readonly string[] = CONTENDERS;

export interface Sources {
  readonly generator: string;
  /** The path of Tailscale's derper; without it, the one in `PATH`. */
  readonly derper?: string | undefined;
  /** Why derper is missing, if that is known. */
  readonly derperMissing?: string | undefined;
}

/** The available contenders of the given names, and for each other name why it is missing. */
export function find(
  names: readonly string[],
  { generator, derper: path = 'derper', derperMissing }: Sources,
): { readonly contenders: readonly Contender[]; readonly absent: readonly Absent[] } {
  const contenders: Contender[] = [];
  const absent: Absent[] = [];
  for (const name of names) {
    const found = one(name, generator, path, derperMissing);
    if ('why' in found) absent.push(found);
    else contenders.push(found);
  }
  return { contenders, absent };
}

function one(name: string, generator: string, path: string, missing: string | undefined): Contender | Absent {
  switch (name) {
    case 'native':
      try {
        selectPlane('native');
        return ours('native', `derpkit ${VERSION}, native plane`);
      } catch (error) {
        return { name, why: (error as Error).message };
      }
    case 'js':
      return ours('js', `derpkit ${VERSION}, JavaScript plane`);
    case 'derper':
      return derper(path) ?? { name, why: missing ?? `${path} is missing, or is not Tailscale's derper` };
    case 'floor':
      return floor(generator);
    default:
      return { name, why: `there is no contender of that name; there are ${CONTENDERS.join(', ')}` };
  }
}

/** A relay that runs at an address, and of which nothing else is known. */
export function running(
  name: string,
  host: string,
  port: number,
  about: string,
  pid?: number,
  stun = false,
): Contender {
  return {
    name,
    about,
    address: { host, port },
    ...(pid !== undefined && { pid }),
    // Scenarios that would act on its process or its cores are skipped.
    takes: ({ workers, burners, family }) =>
      workers === undefined &&
      burners === undefined &&
      !['mesh', 'narrow'].includes(family) &&
      (family !== 'stun' || stun),
  };
}
