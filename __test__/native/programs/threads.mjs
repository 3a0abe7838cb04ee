/**
 * Planes in several threads at once, as often as the first argument says: some close theirs, some leave it to the end of
 * their thread, some are stopped. Prints what is open before and after.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { parseSettings } from '../../../dist/config.js';
import { loadNative } from '../../../dist/plane/native.js';
import { planePolicy } from '../../../dist/relay/policy.js';

const ENDS = ['close', 'leave', 'stop'];

function whatIsOpen() {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // The directory itself.
      return '';
    }
  });
  return { open: links.filter((link) => link !== '').length, threads: readdirSync('/proc/self/task').length };
}

/** A worker that has a plane, and a connection to it. */
async function start(how) {
  const worker = new Worker(new URL(import.meta.url), { workerData: how });
  const port = await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('connect', resolve));
  return { worker, how, socket };
}

async function round() {
  const all = await Promise.all(ENDS.map(start));
  await Promise.all(
    all.map(async ({ worker, how, socket }) => {
      const ended = new Promise((resolve) => worker.once('exit', resolve));
      const closed = new Promise((resolve) => socket.once('close', resolve));
      if (how === 'stop') void worker.terminate();
      else worker.postMessage('end');
      await ended;
      await closed;
    }),
  );
}

if (isMainThread) {
  for (let count = 0; count < 3; count++) await round();
  await wait(100);
  const before = whatIsOpen();
  for (let count = 0; count < Number(process.argv[2]); count++) await round();
  // The last thread is told of its end before the system is done with it.
  let after = whatIsOpen();
  for (let looks = 0; looks < 200 && after.threads > before.threads; looks++) {
    await wait(25);
    after = whatIsOpen();
  }
  console.log(JSON.stringify({ before, after }));
} else {
  const policy = planePolicy(parseSettings({ certMode: 'off' }));
  const plane = loadNative().create({ privateKey: new Uint8Array(32).fill(1), policy }, {});
  const { port } = await plane.listen({ kind: 'tcp', derp: true, host: '127.0.0.1', port: 0 });
  parentPort.once('message', async () => {
    if (workerData === 'close') await plane.shutdown();
    else process.exit(0);
  });
  parentPort.postMessage(port);
}
