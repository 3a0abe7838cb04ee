/** How a directory logs in to a real nats-server, and what the user of a relay may do there. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type NatsConnection, type Status } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { builtNats } from '../../packaging/nats.mjs';
import { key, TestDirectory } from '../helpers/directory.js';
import { NatsServerProcess } from '../helpers/nats.js';
import { natsCredentials } from '../helpers/nats-credentials.js';
import { pemPair } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

const program = builtNats();
const PASSWORD = 'a p@ss:word,';
const URL_PASSWORD = encodeURIComponent(PASSWORD);
const ONLY = 'permissions: { publish: "derpkit.test.>", subscribe: "derpkit.test.>" }';
const USERS = `authorization { users = [
  { user: relay, password: "${PASSWORD}", ${ONLY} }
  { user: blind, password: blind, permissions: { publish: "derpkit.test.>", subscribe: "derpkit.test.relays" } }
  { user: admin, password: admin }
] }`;

const directory = mkdtempSync(join(tmpdir(), 'derpkit-nats-logins-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

describe.skipIf(!program)('a user of NATS with permissions for one region', () => {
  let nats: NatsServerProcess;
  beforeAll(async () => {
    nats = await NatsServerProcess.start(program as string, USERS);
  });
  afterAll(() => nats.stop());

  const as = (user: string) => `nats://${user}@127.0.0.1:${nats.port}`;

  it('suffices for a relay: keys are found, moves are told, relays see each other, and nothing is refused', async () => {
    const [a, b] = [new TestDirectory(as(`relay:${URL_PASSWORD}`)), new TestDirectory(as(`relay:${URL_PASSWORD}`))];
    onTestFinished(async () => {
      await Promise.all([a.directory.close(), b.directory.close()]);
    });
    await Promise.all([a.start().up(), b.start().up()]);
    const client = key();
    await b.watches(client);
    a.directory.announce(client);
    await b.findsAt(client, a.id);
    await eventually(() => b.moves.length > 0, 'news');
    await eventually(() => b.last.length === 2 && a.last.length === 2, 'both relays');
    for (const one of [a, b]) expect(one.directory.status()).toMatchObject({ state: 'up', counts: { connected: 1 } });
  });

  it.each([
    ...['>', '_INBOX.>', '$SYS.>', 'derpkit.>', 'derpkit.other.key.*', 'derpkit.test', '*.test.>', 'derpkit.*.news.*'],
  ])('may not listen to %s', async (subject) => {
    const { error } = await tries((connection) => void connection.subscribe(subject, { callback: () => {} }));
    expect(error).toMatch(/Permissions Violation for Subscription/);
  });

  it.each([...['_INBOX.x', '$SYS.REQ.SERVER.PING', 'derpkit.other.relays', 'derpkit.test', 'other']])(
    'may not publish to %s',
    async (subject) => {
      const { error } = await tries((connection) => connection.publish(subject, 'x'));
      expect(error).toMatch(/Permissions Violation for Publish/);
    },
  );

  it('may do both below its region: the tests before can fail', async () => {
    const { error } = await tries((connection) => {
      connection.subscribe('derpkit.test.>', { callback: () => {} });
      connection.publish('derpkit.test.relays', 'x');
    });
    expect(error).toBe('');
  });

  it('a user who may not listen to keys and answers is no user for a relay, which says what is missing', async () => {
    const relay = new TestDirectory(as('blind:blind')).start();
    onTestFinished(() => relay.directory.close());
    for (let count = 0; count < 100; count += 1) relay.directory.announce(key());
    await eventually(() => relay.directory.status().failures > 1, 'two failures');
    expect(relay.directory.status()).toMatchObject({
      trouble: expect.stringMatching(
        /^the server does not permit this user the subscription of derpkit\.test\.inbox\.>, which is of the region/,
      ),
      counts: { answered: 0 },
    });
    expect(relay.states).toEqual([]);
  });

  it.each([
    ['a wrong password', 'relay:a-wrong-password-here'],
    ['no user', ''],
    ['a token', 'a-token-nobody-knows'],
  ])('%s is refused, said so, and never shown', async (_what, user) => {
    const relay = new TestDirectory(as(user).replace('//@', '//')).start();
    onTestFinished(() => relay.directory.close());
    await eventually(() => relay.directory.status().failures > 1, 'two failures');
    const trouble = 'the server refuses the user, the token or the credentials';
    expect(relay.directory.status()).toMatchObject({ trouble });
    const said = JSON.stringify([relay.lines, relay.directory.status(), relay.directory.relays()]);
    expect(said).toContain(`127.0.0.1:${nats.port}`);
    if (user !== '') expect(said).not.toContain(user.replace(/^relay:/, ''));
    // One line for many equal failures.
    expect(relay.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });

  it('the password of a relay is in no line, status or message to others', async () => {
    const relay = new TestDirectory(as(`relay:${URL_PASSWORD}`)).start();
    await relay.up();
    await relay.directory.close();
    const said = JSON.stringify([relay.lines, relay.directory.status(), relay.directory.relays()]);
    expect(said).not.toContain(PASSWORD);
    expect(said).not.toContain(URL_PASSWORD);
  });

  /** Does something as the user of a relay, and returns the server's complaint. */
  async function tries(act: (connection: NatsConnection) => void): Promise<{ error: string }> {
    const connection = await connect({ port: nats.port, user: 'relay', pass: PASSWORD, reconnect: false });
    onTestFinished(() => connection.close());
    const errors: string[] = [];
    const heard = (async () => {
      for await (const status of connection.status() as AsyncIterable<Status>) {
        if (status.type === 'error') errors.push(status.error.message);
      }
    })();
    act(connection);
    await connection.flush();
    await connection.close();
    await heard;
    return { error: errors.join() };
  }
});

describe.skipIf(!program)('TLS to NATS', () => {
  const pair = pemPair(['localhost', '127.0.0.1']);
  const tls = `tls { cert_file: "${file('nats.crt', pair.chain)}", key_file: "${file('nats.key', pair.key)}" }`;
  let nats: NatsServerProcess;
  beforeAll(async () => {
    nats = await NatsServerProcess.start(program as string, tls);
  });
  afterAll(() => nats.stop());

  it.each(['tls://127.0.0.1', 'nats://127.0.0.1', 'localhost'])(
    '%s is connected to, with a file of authorities',
    async (server) => {
      const caFile = file('ca.pem', pair.chain);
      const relay = new TestDirectory(`${server}:${nats.port}`, { caFile }).start();
      onTestFinished(() => relay.directory.close());
      await relay.up();
    },
  );

  it.each<[string, string, string | undefined, RegExp]>([
    ['without its authority', 'tls://127.0.0.1', undefined, /self.signed/i],
    ['with another authority', '127.0.0.1', pemPair(['localhost']).chain, /self.signed|issuer|verif/i],
    ['without a file', '127.0.0.1', '', /^nats\.tls\.caFile: .*no such file/],
  ])('a server %s is refused, and the relay says why', async (_how, server, authority, reason) => {
    const path = authority && file('other.pem', authority);
    const caFile = authority === '' ? join(directory, 'missing.pem') : path;
    const relay = new TestDirectory(`${server}:${nats.port}`, { caFile }).start();
    onTestFinished(() => relay.directory.close());
    await eventually(() => relay.directory.status().failures > 0, 'a failure');
    expect(relay.directory.status().trouble).toMatch(reason);
  });

  it.each([
    ['an address', '127.0.0.1', ['127.0.0.1'], true],
    ['an address, with a certificate for a name', '127.0.0.1', ['localhost'], false],
    ['a name', 'localhost', ['localhost'], true],
    ['a name, with a certificate for an address', 'localhost', ['127.0.0.1'], false],
  ])('the certificate has to be for the server that is named: %s', async (_how, host, names, isRight) => {
    const own = pemPair(names);
    const [cert, keyFile, caFile] = [file('own.crt', own.chain), file('own.key', own.key), file('own.pem', own.chain)];
    const server = await NatsServerProcess.start(
      program as string,
      `tls { cert_file: "${cert}", key_file: "${keyFile}" }`,
    );
    const relay = new TestDirectory(`${host}:${server.port}`, { caFile }).start();
    onTestFinished(async () => {
      await relay.directory.close();
      await server.stop();
    });
    if (isRight) await relay.up();
    else await eventually(() => /altnames/.test(relay.directory.status().trouble), 'the certificate to be refused');
  });

  it('a server without TLS is refused by a relay that insists on it', async () => {
    const plain = await NatsServerProcess.start(program as string);
    const caFile = file('ca.pem', pair.chain);
    const address = `127.0.0.1:${plain.port}`;
    const all = [new TestDirectory(`tls://${address}`), new TestDirectory(address, { caFile })];
    onTestFinished(async () => {
      await Promise.all(all.map(({ directory }) => directory.close()));
      await plain.stop();
    });
    for (const relay of all) {
      relay.start();
      await eventually(() => relay.directory.status().failures > 0, 'a failure');
      expect(relay.directory.status().trouble).toBe("server does not support 'tls'");
    }
  });
});

describe.skipIf(!program)('credentials of NATS', () => {
  it('a file of credentials is read at each connection, so that new ones need no restart', async () => {
    const [good, other] = [natsCredentials('derpkit.test.>'), natsCredentials('derpkit.test.>')];
    const nats = await NatsServerProcess.start(program as string, good.config);
    const credsFile = file('relay.creds', other.creds);
    const relay = new TestDirectory(`127.0.0.1:${nats.port}`, { credsFile }).start();
    onTestFinished(async () => {
      await relay.directory.close();
      await nats.stop();
    });
    await eventually(() => relay.directory.status().failures > 0, 'a failure');
    expect(relay.directory.status().trouble).toBe('the server refuses the user, the token or the credentials');
    file('relay.creds', 'no credentials');
    await eventually(() => relay.directory.status().trouble.includes('parse'), 'a failure to read them');
    file('relay.creds', good.creds);
    await relay.up();
    const said = JSON.stringify([relay.lines, relay.directory.status()]);
    for (const secret of good.creds.split('\n').filter((line) => line.length > 50)) expect(said).not.toContain(secret);
  });
});
