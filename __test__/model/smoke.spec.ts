import { it } from 'vitest';
import { laneNamed } from '../helpers/lanes.js';
import { play } from './play.js';
import { traceOf } from './steps.js';

it('smoke', async () => {
  const n = Number(process.env.N ?? 5);
  let js = 0,
    nat = 0,
    diffs = 0;
  for (let seed = 1; seed <= n; seed++) {
    const trace = traceOf(seed, 200);
    let t = performance.now();
    const a = await play(laneNamed('js'), trace);
    js += performance.now() - t;
    t = performance.now();
    const b = await play(laneNamed('native'), trace);
    nat += performance.now() - t;
    if (process.env.SHOW) console.log(a.log.join('\n'));
    const at = a.log.findIndex((line, i) => line !== b.log[i]);
    if (a.findings.length || b.findings.length || at >= 0) {
      diffs++;
      if (diffs < 4)
        console.log(
          seed,
          'js',
          a.findings,
          'native',
          b.findings,
          at,
          '\njs    ',
          a.log[at]?.slice(0, 1500),
          '\nnative',
          b.log[at]?.slice(0, 1500),
        );
    }
  }
  console.log({ js: js / n, nat: nat / n, diffs });
}, 120000);
