/** What a relay says at its start about settings that an operator may not have meant. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { start, temporary } from './commands.js';
import { portOf } from './reach.js';

const PLAIN = ['serve', '--listen', '127.0.0.1:0', '--cert-mode', 'off', '--no-stun', '--http-port', '-1'];

async function said(...more: string[]): Promise<string> {
  const relay = start('derpkit', [...PLAIN, '--data-dir', temporary(), ...more]);
  await portOf(relay, 'DERP over plain HTTP');
  await relay.stop();
  return relay.stderr;
}

describe('derpkit serve warns', () => {
  it('a relay says that its debug key cannot be read', async () => {
    const file = join(temporary(), 'debug.key');
    expect(await said('--debug-key-file', file)).toContain(`debugKeyFile: ${file} cannot be read (`);
    writeFileSync(file, 'secret\n');
    expect(await said('--debug-key-file', file)).not.toContain('debugKeyFile');
  });

  it('a relay says that a token without a metrics listener has no effect', async () => {
    const file = join(temporary(), 'token');
    writeFileSync(file, 'secret\n');
    const warning = 'metrics.tokenFile has no effect without metrics.listen';
    expect(await said('--metrics-token-file', file)).toContain(warning);
    expect(await said('--metrics-token-file', file, '--metrics-listen', '0')).not.toContain(warning);
  });

  it('a relay says that its metrics are open to other machines', async () => {
    const warning = 'metrics.listen: every program that can connect reads the metrics';
    expect(await said('--metrics-listen', '0.0.0.0:0')).toContain(warning);
    expect(await said('--metrics-listen', '0')).not.toContain(warning);
  });
});
