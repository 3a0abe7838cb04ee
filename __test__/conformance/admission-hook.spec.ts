/** The embedder's own word on each client, and what strangers can make of waiting for it. */
import { describe, expect, it } from 'vitest';
import type { AdmitClient, AdmitDecision } from '../../src/control/admission/hook.js';
import { formatNodeKey } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { isLetIn } from '../helpers/is-let-in.js';
import { LANES } from '../helpers/lanes.js';
import { MESH_KEY, startRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

describe.each(LANES)('onAdmit, $name', (lane) => {
  it('onAdmit gets the facts of each client, and its decision counts', async () => {
    const seen: AdmitClient[] = [];
    const onAdmit = async (client: AdmitClient): Promise<AdmitDecision> => {
      seen.push(client);
      if (client.appName === 'throws') throw new Error('oh');
      return client.appName === 'refused' ? { refuse: 'no account' } : true;
    };
    const relay = await startRelay(lane, { tls: true, onAdmit });
    const client = await DerpClient.connect(relay, { appName: 'wanted' });
    expect(seen).toEqual([
      {
        key: formatNodeKey(client.key),
        appName: 'wanted',
        version: 2,
        address: '127.0.0.1',
        port: client.wire.localPort,
        tlsVersion: expect.stringMatching(/^1\.[23]$/),
        again: false,
      },
    ]);
    expect(await isLetIn(relay, { appName: 'refused' })).toBe(false);
    expect(await isLetIn(relay, { appName: 'throws' })).toBe(false);
    await DerpClient.connect(relay, { meshKey: MESH_KEY });
    expect(seen).toHaveLength(3);
    const counts = relay.relay.admission()?.outcomes.filter(({ value }) => value > 0);
    expect(counts?.map(({ of, value }) => [...of, value])).toEqual([
      ['onAdmit', 'allowed', 1],
      ['onAdmit', 'denied', 1],
      ['onAdmit', 'error', 1],
    ]);
  });

  it('onAdmit can limit what a client may send', async () => {
    const onAdmit = ({ appName }: AdmitClient): AdmitDecision =>
      appName === 'slow' ? { receive: { bytesPerSecond: 1000 } } : true;
    const relay = await startRelay(lane, { onAdmit });
    const [slow, quick] = [await DerpClient.connect(relay, { appName: 'slow' }), await DerpClient.connect(relay)];
    const packet = 'x'.repeat(60_000);
    for (let sent = 0; sent < 3; sent++) quick.sendPacket(quick.key, packet);
    for (let sent = 0; sent < 3; sent++) await quick.expectPacket(packet);
    expect(relay.count('rate_limit_waits')).toBe(0);
    for (let sent = 0; sent < 2; sent++) slow.sendPacket(slow.key, packet);
    await eventually(() => relay.count('rate_limit_waits') > 0, 'the limit to be felt');
    expect(await quick.fence()).toEqual([]);
  });

  it('onAdmit changes the limit of a connected client when asked again, and a failure keeps the limit', async () => {
    let decide: () => AdmitDecision = () => true;
    const onAdmit = ({ again }: AdmitClient): AdmitDecision => (again ? decide() : true);
    const admission = { recheck: '300ms', cache: { grace: '1h' } };
    let answers = 0;
    const relay = await startRelay(lane, { onAdmit: counted, config: { admission } });
    const [client, peer] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    function counted(asked: AdmitClient): AdmitDecision {
      if (asked.again && asked.key === formatNodeKey(client.key)) answers += 1;
      return onAdmit(asked);
    }
    /** Until an answer about the client has come, and has been acted upon: it has by the next question. */
    const answered = async (answer: () => AdmitDecision) => {
      decide = answer;
      const before = answers;
      await eventually(() => answers >= before + 2, 'two more answers');
      await relay.commandsDone();
    };
    await answered(() => ({ receive: { bytesPerSecond: 1 } }));
    const packet = 'x'.repeat(60_000);
    // One that the burst has room for, one that is too much and read to its end, and one that waits.
    for (let sent = 0; sent < 3; sent++) client.sendPacket(client.key, packet);
    for (let sent = 0; sent < 2; sent++) await client.expectPacket(packet);
    expect(relay.count('rate_limit_waits')).toBe(1);
    // Neither the limit from before nor a hook that fails gives another burst.
    await answered(() => ({ receive: { bytesPerSecond: 1 } }));
    await answered(() => {
      throw new Error('oh');
    });
    peer.sendPacket(client.key, 'meanwhile');
    await client.expectPacket('meanwhile');
    await answered(() => true);
    await client.expectPacket(packet);
    for (let sent = 0; sent < 5; sent++) client.sendPacket(client.key, packet);
    for (let sent = 0; sent < 5; sent++) await client.expectPacket(packet);
    expect(relay.count('rate_limit_waits')).toBe(1);
  });

  it('onAdmit learns when a client gives up, and a later answer admits no client', async () => {
    let decide: ((decision: boolean) => void) | undefined;
    let gone = false;
    const onAdmit = (_client: AdmitClient, signal: AbortSignal) => {
      signal.addEventListener('abort', () => {
        gone = true;
      });
      return new Promise<boolean>((resolve) => {
        decide = resolve;
      });
    };
    const relay = await startRelay(lane, { onAdmit });
    const client = await DerpClient.dial(relay);
    client.wire.write(client.head, client.clientInfo);
    await eventually(() => decide, 'the question');
    await client.close();
    await eventually(() => gone, 'the hook to be told');
    decide?.(true);
    await relay.commandsDone();
    expect(relay.connected).toEqual([]);
  });

  it('onAdmit decides again about connected clients', async () => {
    let allowed = true;
    const asked: boolean[] = [];
    const onAdmit = ({ again }: AdmitClient) => {
      asked.push(again);
      return allowed;
    };
    const relay = await startRelay(lane, { onAdmit, config: { admission: { recheck: '1s' } } });
    const client = await DerpClient.connect(relay);
    await eventually(() => asked.length > 1, 'the second question');
    expect(asked.slice(0, 2)).toEqual([false, true]);
    allowed = false;
    await client.closed();
    expect(await relay.endOf(client.key)).toBe('refused');
  });
});
