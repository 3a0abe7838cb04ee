import { WritableCounters } from '../counters.js';
import type { ConnectionContext } from './connection.js';
import { Failures } from './failures.js';
import { QueueTime } from './queue-time.js';

/**
 * The plane as connections see it that no counter and no tap shows: they count on pages that are never read. Everything else is
 * that of all connections, so that their packets go the way of any packet.
 */
export function uncounted(context: ConnectionContext): ConnectionContext {
  const counters = new WritableCounters();
  return Object.create(context, {
    counters: { value: counters },
    queueTime: { value: new QueueTime(counters) },
    failures: { value: new Failures(counters, context.events, () => context.policy) },
    tap: { value: undefined },
    loginBytes: {
      get: () => context.loginBytes,
      set: (bytes: number) => {
        context.loginBytes = bytes;
      },
    },
  }) as ConnectionContext;
}
