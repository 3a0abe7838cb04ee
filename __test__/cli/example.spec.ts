/** The example of a program that embeds a relay, compiled and run in a project of its own. */
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generateKeyPair, nodeKeyHex, readNodeKey } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { getsIn } from '../helpers/is-let-in.js';
import { Wire } from '../helpers/wire.js';
import { Command, ROOT, temporary } from './commands.js';

/** A project with the example, its dependencies, and the compiled program. */
async function project(): Promise<string> {
  const directory = temporary();
  cpSync(join(ROOT, 'examples/node'), directory, { recursive: true });
  mkdirSync(join(directory, 'node_modules/@types'), { recursive: true });
  symlinkSync(ROOT, join(directory, 'node_modules/derpkit'));
  for (const name of ['pino', '@types/node']) {
    symlinkSync(join(ROOT, 'node_modules', name), join(directory, 'node_modules', name));
  }
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  const { code, stdout } = await new Command([process.execPath, compiler, '-p', directory]).end();
  expect([code, stdout]).toEqual([0, '']);
  return directory;
}

const run = (cwd: string, ...args: string[]) => new Command([process.execPath, 'relay.mjs', ...args], { cwd });

describe('examples/node', () => {
  it('the program admits the clients of its file alone, logs them, and ends by SIGTERM', async () => {
    const directory = await project();
    const [friend, stranger] = [generateKeyPair(), generateKeyPair()];
    writeFileSync(join(directory, 'friends.txt'), `nodekey:${nodeKeyHex(friend.publicKey)}\n`);
    const program = run(directory, 'friends.txt', '127.0.0.1:0');
    const [, port = '', key = ''] = await program.printed(
      /"port":(\d+),"key":"nodekey:([0-9a-f]{64})","msg":"serving"/,
    );
    const dial = async (keys = friend) => {
      const wire = await Wire.open({ host: '127.0.0.1', port: Number(port), tls: undefined });
      return new DerpClient(wire, readNodeKey(Buffer.from(key, 'hex')), { keys });
    };
    expect(await getsIn(await dial(stranger))).toBe(false);
    await program.printed(/not in friends\.txt/);
    const client = await dial();
    await client.login();
    await program.printed(new RegExp(`"key":"nodekey:${nodeKeyHex(friend.publicKey)}".*"msg":"a client is there"`));
    const { code, stdout, stderr } = await program.stop();
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(new RegExp(`"key":"nodekey:${nodeKeyHex(friend.publicKey)}".*"a client is still there"`));
    expect(stdout.match(/"msg":"a client is there"/g)).toHaveLength(1);
  });

  it('the program says what is wrong with its settings, one problem a line', async () => {
    const { code, stdout, stderr } = await run(await project(), 'friends.txt', 'nowhere').end();
    expect([code, stdout, stderr]).toEqual([2, '', 'listen: must be host:port, :port or [address]:port\n']);
  });
});
