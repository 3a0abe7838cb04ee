/**
 * A process with a relay in it, and nothing else that would keep it alive. Prints the port; ends on SIGUSR2 in the way
 * that the first argument says. The second is the relay's private key.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { createRelay } from '../../../dist/index.js';

async function serve(privateKey) {
  const relay = createRelay({
    listen: '127.0.0.1:0',
    certMode: 'off',
    httpPort: -1,
    stun: false,
    plane: 'native',
    logLevel: 'silent',
    privateKey,
  });
  await relay.start();
  return { relay, port: relay.address.derp.port };
}

/** Threads of planes in this process. */
function workers() {
  const names = readdirSync('/proc/self/task').map((task) => {
    try {
      return readFileSync(`/proc/self/task/${task}/comm`, 'utf8');
    } catch {
      // It has ended meanwhile.
      return '';
    }
  });
  return names.filter((name) => name.startsWith('derp-')).length;
}

/** Waits for the threads to be gone: those of an environment end with it, which takes a moment. */
async function untilNone() {
  while (workers() > 0) await wait(5);
}

const ENDS = {
  /** Without a word to anybody. */
  exit: () => process.exit(3),
  throw: () => {
    throw new Error('on purpose');
  },
  close: (relay) => relay.close(),
  /** Twice, and out at once: the second has the threads to wait for. */
  'close-and-exit': (relay) => {
    void relay.close();
    process.exit(4);
  },
};

const RELAY_IN_A_WORKER = {
  /** Stopped from outside, in the middle of whatever it does. */
  'terminate-worker': async (worker) => {
    await worker.terminate();
    await untilNone();
  },
  /** Ends itself. */
  'exit-worker': async (worker) => {
    worker.postMessage('exit');
    await untilNone();
  },
  /** The process ends around it. */
  'exit-around-worker': () => process.exit(5),
};

if (!isMainThread) {
  const { port } = await serve(workerData);
  parentPort.postMessage(port);
  parentPort.on('message', () => process.exit(0));
  parentPort.unref();
} else {
  const [, , how, privateKey] = process.argv;
  if (how in RELAY_IN_A_WORKER) {
    const worker = new Worker(new URL(import.meta.url), { workerData: privateKey });
    worker.once('message', (port) => console.log(`port ${port}`));
    process.once('SIGUSR2', () => RELAY_IN_A_WORKER[how](worker));
  } else {
    const { relay, port } = await serve(privateKey);
    if (how !== 'signal') process.once('SIGUSR2', () => ENDS[how](relay));
    console.log(`port ${port}`);
  }
}
