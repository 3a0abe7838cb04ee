/** A network between two relays that breaks and heals: namespaces of Linux, which only root can make. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Client } from '../../packaging/fleet/client.mjs';
import { Talk } from '../../packaging/fleet/talk.mjs';
import { Command, ROOT } from '../cli/commands.ts';
import { pemPair } from '../helpers/relay.ts';
import { eventually } from '../helpers/wait.ts';

const NAMESPACE = `derpkit-${process.pid}`;
const DEVICE = `dk${process.pid}`;
const [HERE, THERE] = [`10.213.${process.pid % 250}.1`, `10.213.${process.pid % 250}.2`] as const;

function ip(...args: string[]): boolean {
  return spawnSync('ip', args).status === 0;
}

/** A device here and its other end in a namespace. */
function makeNetwork(): boolean {
  return (
    ip('netns', 'add', NAMESPACE) &&
    ip('link', 'add', DEVICE, 'type', 'veth', 'peer', 'name', 'inner', 'netns', NAMESPACE) &&
    ip('address', 'add', `${HERE}/24`, 'dev', DEVICE) &&
    ip('link', 'set', DEVICE, 'up') &&
    ip('-n', NAMESPACE, 'address', 'add', `${THERE}/24`, 'dev', 'inner') &&
    ip('-n', NAMESPACE, 'link', 'set', 'inner', 'up') &&
    ip('-n', NAMESPACE, 'link', 'set', 'lo', 'up')
  );
}

const isMade = makeNetwork();
if (!isMade) console.warn('left out: networks that break: only root can make namespaces, with the command ip');
afterAll(() => {
  ip('link', 'delete', DEVICE);
  ip('netns', 'delete', NAMESPACE);
});

// On the JavaScript plane only two minutes of silence tell that a relay has vanished: Node cannot set TCP_USER_TIMEOUT.
describe.skipIf(!isMade)('two relays on the native plane, whose network breaks', () => {
  it('each serves its own clients meanwhile, without loss, and they meet again afterwards', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'derpkit-partition-'));
    const { chain, key } = pemPair(['derp.test']);
    writeFileSync(join(directory, 'derp.test.crt'), chain);
    writeFileSync(join(directory, 'derp.test.key'), key);
    writeFileSync(join(directory, 'relays'), [HERE, THERE].map((host) => `derp.test:8443/${host}\n`).join(''));
    const start = (host: string, before: readonly string[]) => {
      const program = [process.execPath, join(ROOT, 'dist/cli/derpkit.js'), 'serve', '--listen', `${host}:8443`];
      const env = {
        DERPKIT_PLANE: 'native',
        DERPKIT_HTTP_PORT: '-1',
        DERPKIT_STUN: 'false',
        DERPKIT_HOSTNAME: 'derp.test',
        DERPKIT_CERT_MODE: 'manual',
        DERPKIT_CERT_DIR: directory,
        DERPKIT_DATA_DIR: join(directory, host),
        DERPKIT_MESH_KEY: '5e'.repeat(32),
        DERPKIT_MESH_DISCOVER: JSON.stringify([{ file: join(directory, 'relays') }]),
        DERPKIT_TCP_USER_TIMEOUT: '2s',
        SSL_CERT_FILE: join(directory, 'derp.test.crt'),
      };
      return new Command([...before, ...program] as [string, ...string[]], { env });
    };
    const target = { port: 8443, servername: 'derp.test', ca: readFileSync(join(directory, 'derp.test.crt')) };
    const clients: Client[] = [];
    try {
      const here = start(HERE, []);
      const there = start(THERE, ['ip', 'netns', 'exec', NAMESPACE]);
      const linked = (host: string) => new RegExp(`mesh link connected relay=derp\\.test:8443/${host} peers=`);
      await Promise.all([here.printed(linked(THERE)), there.printed(linked(HERE))]);
      clients.push(...[HERE, HERE, THERE].map((host) => new Client({ ...target, host })));
      const [alice, carol, bob] = clients as [Client, Client, Client];
      const [all, local] = [new Talk(clients), () => new Talk([alice, carol])];
      await eventually(() => clients.every(({ relay }) => relay !== undefined), 'clients to be connected');
      await eventually(() => all.reaches(), 'ways between all clients');
      ip('link', 'set', DEVICE, 'down');
      // What is sent there shows that it does not arrive.
      const sending = setInterval(() => alice.send(bob.key, Buffer.from('0')), 50);
      const talk = local();
      const talking = talk.until();
      await here.printed(new RegExp(`mesh link lost relay=derp\\.test:8443/${THERE}`));
      talk.stop();
      clearInterval(sending);
      const { sent, received, outOfOrder } = await talking;
      expect({ received, outOfOrder }).toEqual({ received: sent, outOfOrder: 0 });
      expect(sent).toBeGreaterThan(100);
      ip('link', 'set', DEVICE, 'up');
      const again = new Talk(clients);
      await eventually(
        () => clients.every(({ relay }) => relay !== undefined) && again.reaches(),
        'them to meet again',
        120_000,
      );
      const { sent: later, received: arrived } = await again.during(500);
      expect(arrived).toBe(later);
    } finally {
      for (const client of clients) client.close();
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
