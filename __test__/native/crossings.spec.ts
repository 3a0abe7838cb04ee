/** That the counters of crossings are right: what is counted on this side of the binding is what the other side says. */
import { duplexPair } from 'node:stream';
import { expect, it, onTestFinished } from 'vitest';
import { parseSettings } from '../../src/config.js';
import { createLogger } from '../../src/logger.js';
import { loadAddon } from '../../src/plane/addon.js';
import type { Binding } from '../../src/plane/binding.js';
import { nativePlane } from '../../src/plane/native.js';
import type { DataPlane } from '../../src/plane/plane.js';
import { formatPrivateKey, generateKeyPair } from '../../src/protocol/key.js';
import { planePolicy } from '../../src/relay/policy.js';
import { composeRelay, type Relay } from '../../src/relay.js';
import { DerpClient, upgradeRequest } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { changed, MESH_KEY } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import { addonPath } from './addon.js';

nothingIsLeft();

/** An addon whose calls, both ways, are counted here. */
function counted(addon: Binding) {
  const calls = new Map<string, number>();
  const count = (name: string) => calls.set(name, (calls.get(name) ?? 0) + 1);
  class Counted extends addon.BindingPlane {
    constructor(...[key, policy, workers, wake]: ConstructorParameters<Binding['BindingPlane']>) {
      super(key, policy, workers, () => {
        count('wake');
        wake();
      });
      count('constructor');
    }
  }
  const methods = Object.getOwnPropertyNames(addon.BindingPlane.prototype).filter((name) => name !== 'constructor');
  for (const name of methods) {
    const inner = Reflect.get(addon.BindingPlane.prototype, name) as (...args: unknown[]) => unknown;
    Reflect.set(Counted.prototype, name, function (this: unknown, ...args: unknown[]) {
      count(name);
      return inner.apply(this, args);
    });
  }
  return { create: nativePlane({ ...addon, BindingPlane: Counted }), calls, methods };
}

it('every call and every callback is counted, and nothing else', async () => {
  const { create, calls, methods } = counted(loadAddon<Binding>(addonPath()));
  const keys = generateKeyPair();
  const settings = parseSettings({
    listen: '127.0.0.1:0',
    certMode: 'off',
    httpPort: -1,
    stun: true,
    stunPort: 0,
    meshKey: MESH_KEY,
    privateKey: formatPrivateKey(keys.privateKey),
  });
  let plane: DataPlane | undefined;
  const watched: typeof create = (options, events) => {
    plane = create({ ...options, policy: changed(options.policy, { limits: { headBytes: 1000 } }) }, events);
    return plane;
  };
  const logger = createLogger({ format: 'json', level: 'silent' });
  const relay = composeRelay(settings, { kind: 'native', reason: 'a test', create: watched }, { logger });
  onTestFinished(() => relay.close());
  await relay.start();
  await exercise(relay, plane as DataPlane, keys.publicKey);
  await relay.close();

  const { wake = 0, ...down } = Object.fromEntries(calls);
  const { crossings_up, crossings_down } = (plane as DataPlane).counters.readAll();
  expect(Object.values(down).reduce((sum, times) => sum + times)).toBe(crossings_down);
  expect(wake).toBe(crossings_up);
  expect(wake).toBeGreaterThan(0);
  // Each method of the binding is called here, but for three: where JavaScript may see the page it is not copied, and sockets
  // of a service manager are listened on once, at the start.
  const elsewhere = ['copyCounters', 'listenOn', 'listenStunOn'];
  expect(Object.keys(down).sort()).toEqual(
    [...methods, 'constructor'].filter((name) => !elsewhere.includes(name)).sort(),
  );
});

/** A little of everything that a plane is asked for. */
async function exercise(relay: Relay, plane: DataPlane, serverKey: DerpClient['key']): Promise<void> {
  const target = { host: '127.0.0.1', port: relay.address?.derp.port as number };
  const client = async (options = {}) => {
    const made = new DerpClient(await Wire.open(target), serverKey, options);
    await made.login();
    return made;
  };
  const [a, b, mesh] = [await client(), await client(), await client({ meshKey: MESH_KEY })];
  mesh.watch();
  for (let count = 0; count < 3; count++) await mesh.expect('PeerPresent');
  const tap = plane.tap({ snapLength: 100 });
  a.sendPacket(b.key, 'a packet');
  for await (const batch of tap) {
    batch.release();
    break;
  }
  plane.missing(b.key);
  mesh.closePeer(b.key);
  await b.closed();
  // A long request is Node's to read; its server gives the connection back.
  const wire = await Wire.open(target);
  wire.write(upgradeRequest({ 'Derp-Fast-Start': '1', 'X-Long': 'x'.repeat(1000) }));
  await new DerpClient(wire, serverKey, { start: 'none' }).login();
  expect((await ask(target, '/generate_204')).status).toBe(204);
  const [ours, theirs] = duplexPair();
  const attached = new DerpClient(new Wire(ours), serverKey, { start: 'none' }).login();
  await plane.attach(theirs, { address: '192.0.2.1', port: 1 });
  await attached;
  plane.route(b.key, 999);
  plane.dial(999, {
    address: { address: target.host, port: target.port },
    host: 'relay.test',
    authority: 'relay.test',
    roots: [],
    meshKey: MESH_KEY,
    timeout: 1000,
    watch: true,
  });
  plane.hangUp(999);
  plane.certificates({ certificates: [], otherwise: 'refuse' });
  plane.policy(planePolicy(parseSettings({ certMode: 'off' })));
  plane.limit(999, null);
  await plane.pulse();
  await plane.snapshot(0, 10);
  await eventually(() => relay.figures().connections === 4, 'everybody to be there');
}
