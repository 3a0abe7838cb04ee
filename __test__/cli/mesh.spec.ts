/** Relays that mesh, as an operator starts them: `-mesh-with`, the mesh key, and the trust in certificates. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { freePorts } from '../../src/bench/ports.js';
import { pemPair } from '../helpers/relay.js';
import { type Command, lines, run, start, temporary } from './commands.js';

const MESH_KEY = '5e'.repeat(32);

/** A directory with what both relays have: a certificate for two names of this machine, and the mesh key. */
function shared(): { directory: string; meshKeyFile: string; roots: string } {
  const directory = temporary();
  const pair = pemPair(['localhost', 'mesh.test', '127.0.0.1']);
  for (const host of ['localhost', 'mesh.test']) {
    writeFileSync(join(directory, `${host}.crt`), pair.chain);
    writeFileSync(join(directory, `${host}.key`), pair.key);
  }
  const meshKeyFile = join(directory, 'mesh.key');
  writeFileSync(meshKeyFile, `${MESH_KEY}\n`);
  return { directory, meshKeyFile, roots: join(directory, 'localhost.crt') };
}

function derper(directory: string, hostname: string, port: number, ...flags: string[]): string[] {
  const key = join(directory, `${port}.key`);
  const own = ['-c', key, '-a', `127.0.0.1:${port}`, '-http-port=-1', '-stun=false'];
  return [...own, '-certmode=manual', '-certdir', directory, '-hostname', hostname, ...flags];
}

describe('meshed commands', () => {
  it('-mesh-with: two relays find each other, and log it', async () => {
    const { directory, meshKeyFile, roots } = shared();
    const [here, there] = (await freePorts(2)) as [number, number];
    const trusting = { env: { SSL_CERT_FILE: roots } };
    const mesh = ['-mesh-psk-file', meshKeyFile, '-mesh-with'];
    // One by a name that is nowhere, at an address; itself is in its list, too.
    const both = `localhost:${here},mesh.test:${there}/127.0.0.1`;
    const one = start('derper', derper(directory, 'localhost', here, ...mesh, both), trusting);
    await one.printed(/warn: mesh link cannot be made relay=mesh\.test:\d+ reason="connection refused"$/m);
    await one.printed(/ this relay is listed in its own mesh; it is left alone relay=localhost:\d+$/m);
    const other = start(
      'derper',
      derper(directory, 'mesh.test', there, ...mesh, `localhost:${here}/127.0.0.1`),
      trusting,
    );
    await connected(one, `mesh.test:${there}`);
    await connected(other, `localhost:${here}`);
    expect((await other.stop()).code).toBe(0);
    await one.printed(
      /warn: mesh link lost relay=mesh\.test:\d+ key=nodekey:[0-9a-f]{64} reason="the relay closed the connection"$/m,
    );
    expect((await one.stop()).code).toBe(0);
  });

  it('-mesh-with: relays refuse a certificate that no authority signed, and log why', async () => {
    const { directory, meshKeyFile } = shared();
    const [port] = (await freePorts(1)) as [number];
    const flags = ['-mesh-psk-file', meshKeyFile, `-mesh-with=localhost:${port}/127.0.0.1`];
    const relay = start('derper', derper(directory, 'localhost', port, ...flags));
    await relay.printed(
      /warn: mesh link cannot be made relay=localhost:\d+ reason="its certificate is not trusted: .+"$/m,
    );
    expect((await relay.stop()).code).toBe(0);
  });

  it('derpkit serve reads the mesh from variables', async () => {
    const { directory, roots } = shared();
    const [here, there] = (await freePorts(2)) as [number, number];
    const nodes = [here, there].map((port, index) =>
      start('derpkit', ['serve', '--listen', `127.0.0.1:${port}`, '--http-port=-1', '--no-stun'], {
        env: {
          NODE_EXTRA_CA_CERTS: roots,
          DERPKIT_DATA_DIR: join(directory, `${port}`),
          DERPKIT_CERT_DIR: directory,
          DERPKIT_CERT_MODE: 'manual',
          DERPKIT_HOSTNAME: 'localhost',
          DERPKIT_MESH_KEY: MESH_KEY,
          DERPKIT_MESH_WITH: `localhost:${index === 0 ? there : here}/127.0.0.1`,
        },
      }),
    );
    await Promise.all(nodes.map((node) => connected(node, 'localhost:\\d+')));
    for (const node of nodes) expect((await node.stop()).code).toBe(0);
  });
});

describe('unusable values of -mesh-with', () => {
  const wrong = 'must be relays as host or host/dialhost, separated by commas without blanks';

  it.each([
    ['a/b/c', wrong],
    ['a, b', wrong],
    ['https://a', wrong],
    ['a:b', wrong],
  ])('%j exits with 1', async (value, message) => {
    const { meshKeyFile } = shared();
    const { code, stdout, stderr } = await run('derper', plain('-mesh-psk-file', meshKeyFile, `-mesh-with=${value}`));
    expect({ code, stdout, lines: lines(stderr) }).toEqual({
      code: 1,
      stdout: '',
      lines: [`derper: -mesh-with: ${message}`],
    });
  });

  it.each([
    ['no mesh key', []],
    ['no mesh key of -dev', ['-dev']],
  ])('-mesh-with refuses %s', async (_name, flags) => {
    const { code, stderr } = await run('derper', plain('-mesh-with=a', ...flags));
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([
      'derper: -mesh-with: needs the mesh key that all relays of the mesh share: the setting meshKeyFile names its file ' +
        '(--mesh-key-file; with derper, -mesh-psk-file)',
    ]);
  });

  it('-mesh-with refuses a mesh key of zeros', async () => {
    const { meshKeyFile } = shared();
    writeFileSync(meshKeyFile, '0'.repeat(64));
    const { code, stderr } = await run('derper', plain('-mesh-psk-file', meshKeyFile, '-mesh-with=a'));
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual(['derper: -mesh-with: needs a mesh key that is not all zeros']);
  });
});

function plain(...flags: string[]): string[] {
  return ['-c', join(temporary(), 'derper.key'), '-a', '127.0.0.1:0', '-stun=false', ...flags];
}

async function connected(relay: Command, name: string): Promise<void> {
  await relay.printed(new RegExp(` mesh link connected relay=${name} peers=\\d+$`, 'm'));
}
