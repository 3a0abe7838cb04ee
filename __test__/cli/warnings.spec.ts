/** What a relay says at its start about settings that an operator may not have meant. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { run, start, temporary } from './commands.js';

const PLAIN = ['serve', '--listen', '127.0.0.1:0', '--cert-mode', 'off', '--no-stun', '--http-port', '-1'];

const said = (...more: string[]) => saidWith({}, ...more);

async function saidWith(env: Readonly<Record<string, string>>, ...more: string[]): Promise<string> {
  const relay = start('derpkit', [...PLAIN, '--data-dir', temporary(), ...more], { env });
  await relay.printed(/ serving DERP /);
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

  it('a relay says that nothing uses its servers of NATS', async () => {
    const file = join(temporary(), 'mesh.key');
    writeFileSync(file, `${'5e'.repeat(32)}\n`);
    const nats = { DERPKIT_MESH_KEY_FILE: file, DERPKIT_NATS_SERVERS: '127.0.0.1:1' };
    const warning = 'nats.servers has no effect: mesh.mode is full, and no source of mesh.discover is nats';
    expect((await saidWith(nats)).split(warning)).toHaveLength(2);
    expect(await saidWith(nats, '--mesh-mode=on-demand')).not.toContain(warning);
    expect(await saidWith({ ...nats, DERPKIT_MESH_DISCOVER: '[{"nats":true}]' })).not.toContain(warning);
  });

  it('a relay without TLS says that others do not reach it without a proxy', async () => {
    const env = {
      DERPKIT_MESH_KEY: '5e'.repeat(32),
      DERPKIT_NATS_SERVERS: '127.0.0.1:1',
      DERPKIT_MESH_MODE: 'on-demand',
    };
    const warning = 'mesh.advertise.port: other relays dial over TLS, and this one serves plain HTTP';
    expect((await saidWith(env)).split(warning)).toHaveLength(2);
    expect(await saidWith(env, '--mesh-advertise-port=8443')).not.toContain(warning);
    expect(await saidWith(env, '--cert-mode=self-signed')).not.toContain(warning);
  });

  it('a relay says that its metrics are open to other machines', async () => {
    const warning = 'metrics.listen: every program that can connect reads the metrics';
    expect(await said('--metrics-listen', '0.0.0.0:0')).toContain(warning);
    expect(await said('--metrics-listen', '0')).not.toContain(warning);
  });
});

it.each(['--nats-creds-file', '--nats-tls-ca-file'])('a relay does not start without the file of %s', async (flag) => {
  const file = join(temporary(), 'absent');
  const env = { DERPKIT_MESH_KEY: '5e'.repeat(32), DERPKIT_NATS_SERVERS: '127.0.0.1:1' };
  const more = ['--data-dir', temporary(), '--mesh-mode=on-demand', flag, file];
  const { code, stderr } = await run('derpkit', [...PLAIN, ...more], { env });
  expect({ code, stderr }).toEqual({ code: 1, stderr: `derpkit: ${flag}: ${file}: no such file or directory\n` });
});
