/** Makes planes and closes them, as often as the first argument says, and prints what is left of them. */
import { readdirSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { parseSettings } from '../../../dist/config.js';
import { loadNative } from '../../../dist/plane/native.js';
import { planePolicy } from '../../../dist/relay/policy.js';

const { create } = loadNative();
const policy = planePolicy(parseSettings({ certMode: 'off' }));
const privateKey = new Uint8Array(32).fill(1);

let alive = 0;
const registry = new FinalizationRegistry(() => {
  alive -= 1;
});

async function once(number) {
  const plane = create({ privateKey, policy }, { duplex: (_, stream) => stream.destroy() });
  alive += 1;
  registry.register(plane);
  // Some are closed before they listen, some with connections of every kind.
  if (number % 3 === 0) return plane.shutdown();
  const { port } = await plane.listen({ kind: 'tcp', derp: true, host: '127.0.0.1', port: 0 });
  const sockets = number % 3 === 1 ? [] : [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
  for (const socket of sockets) {
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('connect', resolve));
  }
  sockets[1]?.write('GET / HTTP/1.1\r\n\r\n');
  await plane.shutdown();
  for (const socket of sockets) socket.destroy();
}

function open() {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // The directory itself.
      return '';
    }
  });
  return targets.filter((target) => target !== '').length;
}

const threads = () => readdirSync('/proc/self/task').length;

async function settled() {
  for (let round = 0; round < 20; round++) {
    globalThis.gc();
    await wait(5);
  }
  return { open: open(), threads: threads(), megabytes: process.memoryUsage.rss() / 2 ** 20 };
}

for (let number = 0; number < 100; number++) await once(number);
const before = await settled();
for (let number = 0; number < Number(process.argv[2]); number++) await once(number);
console.log(JSON.stringify({ before, after: await settled(), alive }));
