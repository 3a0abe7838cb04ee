import { DerpClient } from './client.js';
import type { TestRelay } from './relay.js';

/** Whether a relay answers this login with ServerInfo. The client has left after that. */
export async function isLetIn(relay: TestRelay, options: Parameters<typeof DerpClient.dial>[1] = {}): Promise<boolean> {
  return getsIn(await DerpClient.dial(relay, options));
}

/** The same of a client that has connected. */
export async function getsIn(client: DerpClient): Promise<boolean> {
  client.wire.write(client.head, client.clientInfo);
  client.readFrames();
  await client.expect('ServerKey');
  const answer = await client.next().catch(() => undefined);
  await client.close();
  return answer?.type === 'ServerInfo';
}
