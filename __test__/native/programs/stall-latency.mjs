/**
 * What it does to packets that JavaScript stands still: the latency of 64 pairs at 2000 packets a second, first with the
 * relay left alone, then with its JavaScript standing still for two of every two and a half seconds.
 *
 *     npm run build && cargo build --release -p derp-bench
 *     node __test__/native/programs/stall-latency.mjs target/release/derp-bench [ROUNDS]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const [, , bench, rounds = '3'] = process.argv;
const KEY = `privkey:${'11'.repeat(32)}`;

async function run(stalls) {
  const program = fileURLToPath(new URL('stalling.mjs', import.meta.url));
  const relay = spawn(process.execPath, [program, KEY, '/nonexistent'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface(relay.stdout);
  const [first] = await once(lines, 'line');
  const port = Number(/^port (\d+)$/.exec(first)[1]);
  const target = ['--target', `127.0.0.1:${port}`, '--pid', String(relay.pid)];
  const load = ['--pairs', '64', '--rate', '2000', '--seconds', '10', '--warm-up', '2'];
  const generator = spawn(bench, ['pairs', ...load, ...target, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const timer = stalls && setInterval(() => relay.kill('SIGUSR2'), 2500);
  let text = '';
  generator.stdout.on('data', (chunk) => {
    text += chunk;
  });
  await once(generator, 'close');
  clearInterval(timer || undefined);
  relay.kill('SIGTERM');
  await once(relay, 'close');
  const { ok, traffic } = JSON.parse(text);
  return { ok, lost: traffic.lost_in_all, ...traffic.latency };
}

for (let round = 0; round < Number(rounds); round++) {
  for (const stalls of [false, true]) {
    const { ok, lost, p50, p99, p999, max } = await run(stalls);
    const [a, b, c, d] = [p50, p99, p999, max].map((micros) => `${Math.round(micros)} µs`);
    console.log(
      `${stalls ? 'stalled ' : 'left alone'}: p50 ${a}, p99 ${b}, p99.9 ${c}, max ${d}, lost ${lost}, ok ${ok}`,
    );
  }
}
