import type { TestRelay } from './relay.js';
import { eventually } from './wait.js';

/** Waits until the relay has sent or dropped every packet that it took in. */
export async function balanced(relay: TestRelay): Promise<void> {
  const received = () =>
    relay.count('packets_received:disco') + relay.count('packets_received:other') + relay.count('packets_forwarded_in');
  const left = () => Object.values(relay.drops()).reduce((sum, count) => sum + count, relay.count('packets_sent'));
  await eventually(
    () => received() === left(),
    () => `${received()} packets to be accounted for, not ${left()}: ${JSON.stringify(relay.drops())}`,
  );
}
