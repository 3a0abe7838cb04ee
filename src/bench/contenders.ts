/** The relays that are compared: how each is started on the same settings, and which of them are here. */
import { fileURLToPath } from 'node:url';
import { selectPlane } from '../plane/select.js';
import { VERSION } from '../version.js';
import { say } from './machine.js';
import type { Absent, Participant } from './record.js';
import type { Scenario } from './scenarios.js';

/** What one relay gets to itself for one run. */
export interface Place {
  readonly port: number;
  readonly stunPort?: number;
  readonly keyFile: string;
  /** With a certificate for {@link HOSTNAME}; plain if absent. */
  readonly certDir?: string;
  readonly workers?: number;
  /** Another relay to mesh with. */
  readonly mesh?: { readonly port: number; readonly keyFile: string; readonly authority: string };
}

export interface Command {
  readonly argv: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
}

/** A relay that can be started, or one that runs already. */
export interface Contender extends Participant {
  /** Absent of one that runs already. */
  readonly command?: (place: Place) => Command;
  readonly address?: { readonly host: string; readonly port: number };
  /** Of a relay that runs here. */
  readonly pid?: number;
  /** What it can be measured in. */
  readonly takes: (scenario: Scenario) => boolean;
}

/** What the test certificate is for: the name that the generator asks for. */
export const HOSTNAME = 'bench.test';

/** derper's own flags, which derpkit's `derper` has too. */
function flags({ port, stunPort, keyFile, certDir, mesh }: Place): string[] {
  return [
    ...['-a', `127.0.0.1:${port}`, '-http-port', '-1', '-c', keyFile],
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

/** Relays that mesh have to trust each other's certificate, which is all that they trust then. */
function trusting({ mesh }: Place): Record<string, string> {
  return mesh ? { SSL_CERT_FILE: mesh.authority } : {};
}

/** Tailscale's relay, at a path or by its name. */
function derper(path: string): Contender | undefined {
  const version = say(path, ['-version']);
  // derpkit has a program of that name, and it may be the one that is found.
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

/** What nothing on sockets can be cheaper than: the generator's own, which does nothing but receive and send. */
function floor(generator: string): Contender {
  return {
    name: 'floor',
    about: 'receives and sends, and nothing else',
    command: ({ port }) => ({ argv: [generator, 'floor', '--listen', `127.0.0.1:${port}`] }),
    takes: ({ family, transport }) => transport === 'plain' && ['relay', 'fan-in', 'fan-out'].includes(family),
  };
}

export const CONTENDERS = ['native', 'js', 'derper', 'floor'] as const;
/** Without the floor, which is no relay that anybody would run. */
export const USUAL = ['native', 'js', 'derper'] as const;

export interface Sources {
  readonly generator: string;
  /** The path of Tailscale's relay; the one that the system finds if absent. */
  readonly derper?: string | undefined;
  /** Why there is none, where it is known. */
  readonly derperMissing?: string | undefined;
}

/** Those of the names that are here; of the others why they are not. */
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
      return derper(path) ?? { name, why: missing ?? `${path} is not there, or is not Tailscale's` };
    case 'floor':
      return floor(generator);
    default:
      return { name, why: `there is no contender of that name; there are ${CONTENDERS.join(', ')}` };
  }
}

/** A relay at an address, of which nothing else is known. */
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
    // What would have to be done to its process or its cores, it is spared.
    takes: ({ workers, burners, family }) =>
      workers === undefined && burners === undefined && family !== 'mesh' && (family !== 'stun' || stun),
  };
}
