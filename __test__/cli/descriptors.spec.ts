/** A stranger that takes all descriptors of the relay ends no connection but its own. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { eventually } from '../helpers/wait.js';
import { binPath, start, temporary } from './commands.js';
import {
  ask,
  askForDerp,
  askForWebSocket,
  descriptorsOf,
  exchange,
  keptAlive,
  Stranger,
  startLimited,
  tryTls,
} from './limited.js';
import { askStun, keyOf, logIn, portOf } from './reach.js';

const LIMIT = 256;
/** As if there were no bound below the system's. */
const UNBOUNDED = '1000000';

const PLANES = ['js', 'native'];

it
  .runIf(process.platform === 'linux')
  .each(
    PLANES.flatMap((plane) =>
      [false, true].flatMap((tls) => [false, true].map((bounded) => ({ plane, tls, bounded }))),
    ),
  )(
  'the relay works at the limit of descriptors: $plane, TLS $tls, bounded $bounded',
  async ({ plane, tls, bounded }) => {
    const relay = startLimited(LIMIT, [
      ...[process.execPath, binPath('derpkit'), 'serve', '--data-dir', join(temporary(), 'data')],
      ...['--listen=127.0.0.1:0', '--http-port=-1', '--stun-port=0', `--plane=${plane}`],
      ...(tls ? [] : ['--cert-mode=off']),
      ...(bounded ? [] : [`--limits-connections=${UNBOUNDED}`]),
    ]);
    const port = await portOf(relay, tls ? 'DERP over TLS' : 'DERP over plain HTTP');
    const stunPort = await portOf(relay, 'STUN');
    const key = await keyOf(relay);
    const newcomer = () => logIn(port, key, tls ? {} : undefined);
    const clients = [await newcomer(), await newcomer()] as const;
    await exchange(clients, 'before');
    // Connections that were there before, each for one thing that needs a descriptor.
    const kept = await Promise.all([...Array(8)].map(() => keptAlive(port, tls)));

    const stranger = new Stranger(port);
    await stranger.takeAll(relay, LIMIT);
    // Some are left, or none: what this is about.
    if (bounded) expect(descriptorsOf(relay.pid)).toBeLessThan(LIMIT - 10);
    else expect(descriptorsOf(relay.pid)).toBe(LIMIT);
    for (const [index, wire] of kept.entries()) {
      if (index % 4 === 0) expect(await ask(wire, '/debug/varz')).toBe(200);
      else if (index % 4 === 1) expect(await ask(wire, '/debug/check')).toBe(200);
      else if (index % 4 === 2) await askForWebSocket(wire);
      else await askForDerp(wire);
      await exchange(clients, `after request ${index}`);
      await stranger.takeAll(relay, LIMIT);
    }
    if (tls) await tryTls(port);
    expect((await askStun(stunPort)).readUInt16BE()).toBe(0x0101);
    await exchange(clients, 'at the end');

    stranger.leave();
    const late = await eventually(() => newcomer().catch(() => undefined), 'a newcomer to be let in');
    await exchange([clients[0], late], 'welcome');
    const wire = await keptAlive(port, tls);
    expect(await ask(wire, '/debug/varz')).toBe(200);
    expect(await askForWebSocket(await keptAlive(port, tls))).toBe(101);
    expect((await relay.stop()).code).toBe(0);
  },
);

it.each(PLANES.flatMap((plane) => [false, true].map((tls) => ({ plane, tls }))))(
  'descriptors are free again however connections end: $plane, TLS $tls',
  async ({ plane, tls }) => {
    const relay = start('derpkit', [
      ...['serve', '--data-dir', join(temporary(), 'data'), '--listen=127.0.0.1:0', '--http-port=-1', '--stun-port=0'],
      ...[`--plane=${plane}`, '--limits-connections=100', ...(tls ? [] : ['--cert-mode=off'])],
    ]);
    await relay.printed(/connections are bounded connections=100/);
    const port = await portOf(relay, tls ? 'DERP over TLS' : 'DERP over plain HTTP');
    const key = await keyOf(relay);
    // Of those, many more than there may be at once, none is refused.
    for (let round = 0; round < 40; round++) {
      const client = await logIn(port, key, tls ? {} : undefined);
      const [kept, webSocket, late] = [
        await keptAlive(port, tls),
        await keptAlive(port, tls),
        await keptAlive(port, tls),
      ];
      expect(await askForWebSocket(webSocket)).toBe(101);
      expect(await askForDerp(late)).toBe(101);
      await Promise.all([client.close(), kept.destroy(), webSocket.destroy(), late.destroy()]);
    }
  },
);

it.runIf(process.platform === 'linux').each(['derpkit', 'derper'] as const)(
  '%s says what to do if there are too few descriptors to load its modules',
  async (bin) => {
    const { code, stdout, stderr } = await startLimited(60, [process.execPath, binPath(bin), '--version']).end();
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toBe(
      `${bin}: there are too few file descriptors to start: raise the limit (ulimit -n, LimitNOFILE) to 256 or more\n`,
    );
  },
);
