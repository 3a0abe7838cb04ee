/** The sockets that a service manager such as systemd has opened for the relay. */
import { ConfigError, type Problem } from '../errors.js';
import type { InheritedSockets } from '../relay.js';
import type { Spelling } from './messages.js';

/** The first descriptor of those that are handed over. */
const FIRST = 3;
const NAMES: readonly string[] = ['derp', 'http', 'stun', 'metrics'] satisfies (keyof InheritedSockets)[];

/**
 * Takes the sockets, and the variables that tell of them, so that no child process takes them for its own. (That no child
 * process has the descriptors is Node's doing, which closes all it was started with on exec.) Throws `ConfigError`.
 */
export function takeSockets(env: NodeJS.ProcessEnv, pid = process.pid): InheritedSockets {
  const { LISTEN_PID, LISTEN_FDS = '', LISTEN_FDNAMES } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID']) delete env[name];
  // They are for another process, which has passed its variables on.
  if (LISTEN_PID !== String(pid)) return {};
  if (!/^\d{1,4}$/.test(LISTEN_FDS)) {
    throw new ConfigError([{ path: 'LISTEN_FDS', message: 'must be the number of descriptors that are handed over' }]);
  }
  const names = LISTEN_FDNAMES === undefined || LISTEN_FDNAMES === '' ? [] : LISTEN_FDNAMES.split(':');
  const problems = problemsOf(Number(LISTEN_FDS), names);
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.fromEntries(names.map((name, index) => [name, FIRST + index]));
}

function problemsOf(count: number, names: readonly string[]): Problem[] {
  const path = 'LISTEN_FDNAMES';
  if (count !== names.length) {
    const message = `has ${names.length} names for ${count} sockets; name each with FileDescriptorName= of its unit: derp, http, stun or metrics`;
    return [{ path, message }];
  }
  return [...new Set(names)].flatMap((name) => {
    const times = names.filter((other) => other === name).length;
    if (!NAMES.includes(name)) {
      const message = `the relay has no use for a socket named ${JSON.stringify(name)}; FileDescriptorName= of its unit must be derp, http, stun or metrics`;
      return [{ path, message }];
    }
    if (times === 1) return [];
    return [
      { path, message: `there are ${times} sockets named ${name}, and the relay takes one; have one Listen…= for it` },
    ];
  });
}

/** A socket in the words of the unit that opens it. */
export function withSockets(spelling: Spelling): Spelling {
  return (place) => {
    if (place.startsWith('LISTEN_')) return place;
    return place.startsWith('sockets.') ? `the inherited socket ${place.slice('sockets.'.length)}` : spelling(place);
  };
}
