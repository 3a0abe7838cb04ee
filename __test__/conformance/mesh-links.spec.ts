/** One link, from the dial to its end, with a relay at the other end that does what a test wants. */

import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { freePorts } from '../../src/bench/ports.js';
import { encodeFrame, peerGoneFrame, peerPresentFrame, pingFrame, serverKeyFrame } from '../../src/protocol/frame.js';
import { generateKeyPair, type NodeKey, nodeKeyBytes, readNodeKey } from '../../src/protocol/key.js';
import { switchingProtocols } from '../../src/protocol/upgrade.js';
import { FrameType, HEADER_LENGTH, KEY_LENGTH } from '../../src/protocol/wire.js';
import { DerpClient, discoPacket } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { meshNode, named, trustOwnCertificate, untilRemote } from '../helpers/mesh.js';
import { OtherRelay } from '../helpers/other-relay.js';
import { SEED, seeded } from '../helpers/random.js';
import { MESH_KEY, type PolicyChanges, pemPair, type TestRelay } from '../helpers/relay.js';
import { numbered } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

/** The head of a 101, as short as can be. */
const SWITCHING = 'HTTP/1.1 101 Switching Protocols\r\n\r\n';

function presence(key: NodeKey, appName = ''): Buffer {
  return peerPresentFrame({ key, address: '192.0.2.1', port: 1, flags: 1, appName });
}

/** What a relay says of its one link. */
function link(relay: TestRelay) {
  return relay.relay.mesh()[0] as ReturnType<TestRelay['relay']['mesh']>[0];
}

async function untilTrouble(relay: TestRelay, trouble: string | RegExp): Promise<void> {
  await eventually(
    () => link(relay).trouble !== '',
    () => `trouble; there is ${JSON.stringify(link(relay))}`,
  );
  expect(link(relay).trouble).toMatch(trouble);
}

describe.each(LANES)('a mesh link, $name', (lane) => {
  /** A relay that dials another one. */
  async function dialling(other: OtherRelay, policy: PolicyChanges = {}, meshWith = [named(other.port)]) {
    trustOwnCertificate();
    const relay = meshNode(lane, { port: 0, meshWith, policy });
    await relay.relay.start();
    return relay;
  }

  describe('dialling', () => {
    it('a link asks for raw DERP, logs in with the relay’s key and the mesh key, and watches', async () => {
      const other = await OtherRelay.start();
      const relay = await dialling(other, {}, [`localhost:${other.port}/127.0.0.1`]);
      const end = await other.next();
      const { key, info, request } = await end.login();
      expect(key).toBe(relay.keys.publicKey);
      expect(info).toEqual({ version: 2, meshKey: MESH_KEY, canAckPings: true, isProber: false, appName: '' });
      const [requestLine, ...headers] = request.trimEnd().split('\r\n');
      expect(requestLine).toBe('GET /derp HTTP/1.1');
      expect(headers).toContain(`Host: localhost:${other.port}`);
      expect(headers).toContain('Upgrade: DERP');
      expect(headers).toContain('Connection: Upgrade');
      expect((end.wire.tlsSocket as { servername?: string | false }).servername).toBe('localhost');
      end.send(presence(relay.keys.publicKey));
      await eventually(() => link(relay).peers === 1, 'the first peer');
      expect(link(relay)).toMatchObject({ state: 'connected', relay: `localhost:${other.port}`, trouble: '' });
    });

    it('a link reads data in pieces of any size', async () => {
      const other = await OtherRelay.start();
      const relay = await dialling(other);
      const end = await other.next();
      await end.wire.takeThrough('\r\n\r\n');
      const answer = Buffer.concat([switchingProtocols(other.keys.publicKey), serverKeyFrame(other.keys.publicKey)]);
      await end.wire.writeSplit(answer, 1, 5, 100, answer.length - 46, answer.length - 41, answer.length - 1);
      await end.finishLogin();
      const peers = Buffer.concat([...Array(4)].map(() => presence(generateKeyPair().publicKey, 'some app')));
      await end.wire.writeSplit(peers, 1, 4, 5, 6, 70, 71, 72, 130);
      await untilRemote(relay, 4);
    });

    it.each<[string, string | Buffer, RegExp]>([
      ['says no', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n', /403 Forbidden/],
      ['speaks something else', 'SSH-2.0-OpenSSH_9.9\r\n\r\n', /SSH-2\.0-OpenSSH_9\.9/],
      ['has a head without an end', Buffer.alloc(20 << 10, 'x'), /xxxx|head/],
      ['switches to something else', `${SWITCHING}GET / HTTP/1.1\r\n\r\n`, /does not speak DERP/],
      ['has another magic', Buffer.concat([Buffer.from(SWITCHING), encodeFrame(1, Buffer.alloc(40))]), /DERP$/],
      ['greets with too little', Buffer.concat([Buffer.from(SWITCHING), encodeFrame(1, Buffer.alloc(39))]), /DERP$/],
      ['greets with too much', Buffer.concat([Buffer.from(SWITCHING), greeting(1025)]), /greeting has 1025 bytes/],
      [
        'does not log in',
        Buffer.concat([Buffer.from(SWITCHING), greeting(), encodeFrame(FrameType.KeepAlive, Buffer.alloc(0))]),
        /second frame has type 6/,
      ],
      [
        'has not the key that it says',
        Buffer.concat([Buffer.from(SWITCHING), greeting(), encodeFrame(FrameType.ServerInfo, Buffer.alloc(60))]),
        /ServerInfo does not open/,
      ],
    ])('a link ends if the other relay %s, and is dialled again', async (_name, answer, trouble) => {
      const other = await OtherRelay.start();
      const relay = await dialling(other);
      const end = await other.next();
      await end.wire.takeThrough('\r\n\r\n');
      end.wire.write(answer as Buffer);
      await untilTrouble(relay, trouble);
      await end.wire.ended();
      await other.linked();
      await eventually(() => link(relay).state === 'connected', 'the link to be up after all');
    });

    it('a link ends if the other relay closes at once', async () => {
      const other = await OtherRelay.start();
      const relay = await dialling(other);
      await (await other.next()).wire.destroy();
      await untilTrouble(relay, /closed|broke|reset/);
    });

    it('a link ends if the other relay stays silent', async () => {
      const other = await OtherRelay.start(true);
      trustOwnCertificate();
      const relay = meshNode(lane, {
        port: 0,
        meshWith: [named(other.port)],
        meshTimes: { connect: 400, retry: 100, jitter: 0 },
      });
      await relay.relay.start();
      const first = await other.next();
      await untilTrouble(relay, /no login within 0\.\d+ s/);
      await first.wire.ended();
      await other.next();
    });

    it('a link fails if no relay listens, or the name does not exist', async () => {
      const other = await OtherRelay.start();
      trustOwnCertificate();
      // No name has a part so long, so that no server is asked for it.
      const relay = meshNode(lane, { port: 0, meshWith: ['127.0.0.1:1', `${'a'.repeat(64)}.test`] });
      await relay.relay.start();
      await eventually(() => relay.relay.mesh().every(({ trouble }) => trouble !== ''), 'trouble');
      const [nobody, nowhere] = relay.relay.mesh();
      expect(nobody?.trouble).toMatch(/connection refused/i);
      expect(nowhere?.trouble).not.toBe('');
      expect(other.waiting).toBe(0);
    });
  });

  describe('dialling over TLS', () => {
    it('a link refuses a relay whose certificate no authority vouches for', async () => {
      const other = await OtherRelay.start(true, pemPair(['localhost', '127.0.0.1']));
      const relay = await dialling(other);
      await untilTrouble(relay, /^its certificate is not trusted: ./);
      expect(other.waiting).toBe(0);
    });

    it('a link refuses such a relay even if NODE_TLS_REJECT_UNAUTHORIZED is set', async () => {
      vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
      onTestFinished(() => void vi.unstubAllEnvs());
      const other = await OtherRelay.start(true, pemPair(['localhost', '127.0.0.1']));
      const relay = await dialling(other);
      await untilTrouble(relay, /^its certificate is not trusted: ./);
      expect(other.waiting).toBe(0);
    });

    it('a link refuses a relay whose certificate is for another name', async () => {
      const other = await OtherRelay.start();
      // The certificate has localhost, 127.0.0.1 and ::1.
      const relay = await dialling(other, {}, [`other.test:${other.port}/127.0.0.1`]);
      await untilTrouble(relay, /^its certificate is not trusted: .*name/);
      expect(other.waiting).toBe(0);
    });
  });

  it.each([
    ['an address', 'localhost', (port: number) => `127.0.0.1:${port}`],
    ['a name', '127.0.0.1', (port: number) => `localhost:${port}/127.0.0.1`],
  ])('a link refuses %s that the certificate lacks, whoever signed it', async (_name, host, entry) => {
    const pair = pemPair([host]);
    const other = await OtherRelay.start(true, pair);
    trustOwnCertificate(pair.chain);
    const relay = meshNode(lane, { port: 0, meshWith: [entry(other.port)] });
    await relay.relay.start();
    await untilTrouble(relay, /^its certificate is not trusted: ./);
    expect(other.waiting).toBe(0);
  });

  describe('an open link', () => {
    it('a link takes thousands of peers at once, and forgets them when it ends', async () => {
      const other = await OtherRelay.start();
      const relay = await dialling(other);
      const end = await other.linked();
      const keys = [...Array(5000).keys()].map(keyOf);
      end.send(...keys.map((key) => presence(key)));
      await untilRemote(relay, 5000);
      expect(link(relay).peers).toBe(5000);
      // Half of them go, and come again, and go.
      const half = keys.slice(0, 2500);
      end.send(...half.flatMap((key) => [peerGoneFrame(key, 0), presence(key), peerGoneFrame(key, 0)]));
      await untilRemote(relay, 2500);
      await end.wire.destroy();
      await untilRemote(relay, 0);
      await other.linked();
    });

    it('a link skips frames of unknown type or length', async () => {
      const other = await OtherRelay.start();
      const relay = await dialling(other);
      const end = await other.linked();
      const [short, old, long] = [keyOf(1), keyOf(2), keyOf(3)];
      end.send(
        encodeFrame(FrameType.PeerPresent, nodeKeyBytes(short).subarray(0, 31)),
        encodeFrame(FrameType.PeerPresent, nodeKeyBytes(old)),
        encodeFrame(FrameType.PeerPresent, Buffer.concat([nodeKeyBytes(long), Buffer.alloc(300)])),
        encodeFrame(FrameType.PeerGone, nodeKeyBytes(short).subarray(0, 3)),
        encodeFrame(FrameType.KeepAlive, Buffer.alloc(0)),
        encodeFrame(FrameType.Health, Buffer.from('ill')),
        encodeFrame(FrameType.RecvPacket, Buffer.alloc(70_000)),
        encodeFrame(0x77 as FrameType, Buffer.alloc(1 << 20)),
        pingFrame(Buffer.from('12345678')),
      );
      expect(await end.frame()).toEqual({ type: FrameType.Pong, body: Buffer.from('12345678') });
      await untilRemote(relay, 2);
      end.send(encodeFrame(FrameType.PeerGone, nodeKeyBytes(old)), peerGoneFrame(long, 1));
      await untilRemote(relay, 0);
    });

    it('a link ends at a frame longer than any valid one', async () => {
      const other = await OtherRelay.start();
      const relay = await dialling(other);
      const end = await other.linked();
      const header = Buffer.alloc(HEADER_LENGTH, FrameType.KeepAlive);
      header.writeUInt32BE((1 << 20) + 1, 1);
      end.send(presence(keyOf(1)), header);
      await end.wire.ended();
      await untilTrouble(relay, /frame of type 6 has 1048577 bytes/);
    });

    it('a link ends, sooner or later, if the other relay sends garbage', async () => {
      const other = await OtherRelay.start();
      const relay = await dialling(other);
      const random = seeded(SEED);
      const alice = await DerpClient.connect(relay);
      for (let time = 0; time < 5; time++) {
        const end = await other.linked();
        end.send(presence(keyOf(time)));
        while (!end.wire.isOver) {
          end.send(Buffer.from(Array.from({ length: 5000 }, () => random() * 256)));
          await alice.fence();
        }
        await untilRemote(relay, 0);
      }
    });

    it('a link ends if the other relay is silent for too long', async () => {
      const other = await OtherRelay.start();
      const relay = await dialling(other, { deadlines: { linkSilence: 400 } });
      const end = await other.linked();
      const start = performance.now();
      end.send(presence(keyOf(1)));
      await end.wire.ended();
      expect(performance.now() - start).toBeGreaterThan(390);
      await untilTrouble(relay, /is silent/);
      await untilRemote(relay, 0);
    });

    it('the log suggests a cause if the other relay ends the link without a word', async () => {
      const other = await OtherRelay.start();
      const relay = await dialling(other);
      await (await other.linked()).wire.destroy();
      await untilTrouble(relay, / and announced no client: does it have this relay's mesh key\?$/);
    });
  });

  describe('an unread link', () => {
    it('a link that the other relay does not read drops its oldest packets, delays no client, and ends', async () => {
      const other = await OtherRelay.start();
      const relay = await dialling(other, { linkQueueDepth: 8, deadlines: { linkWrite: 1500 } });
      const end = await other.linked();
      const far = keyOf(1);
      end.send(presence(far));
      await untilRemote(relay, 1);
      await relay.commandsDone();
      end.wire.stopReading();
      const alice = await DerpClient.connect(relay);
      const bob = await DerpClient.connect(relay);
      let sent = 0;
      while (relay.drops().mesh_queue === undefined && link(relay).trouble === '') {
        alice.sendPacket(far, numbered(sent));
        // Local traffic goes on, packet by packet.
        alice.sendPacket(bob.key, `${sent}`);
        await bob.expectPacket(`${sent}`);
        sent += 1;
      }
      expect(relay.drops().mesh_queue).toBeGreaterThan(0);
      const { links } = await relay.dataPlane.snapshot(0, 0);
      expect(links[3]).toBeGreaterThan(0);
      await untilTrouble(relay, /takes nothing/);
      const kept = () => relay.drops().mesh_down ?? 0;
      expect(kept()).toBeGreaterThan(0);
      expect(relay.count('packets_forwarded_out')).toBe(sent);
      // Nothing of it is a client's.
      expect(relay.count('write_timeouts')).toBe(0);
      expect(Object.keys(relay.drops()).sort()).toEqual(['mesh_down', 'mesh_queue']);
    });
  });

  it('a relay ignores keys beyond the limit, and still reaches the others', async () => {
    const other = await OtherRelay.start();
    trustOwnCertificate();
    const config = { limits: { meshKeys: 4 } };
    const relay = meshNode(lane, { port: 0, meshWith: [named(other.port)], config });
    await relay.relay.start();
    const end = await other.linked();
    end.send(Buffer.concat([1, 2, 3, 4, 5, 6].map((number) => presence(keyOf(number)))));
    await eventually(() => link(relay).passedOver === 2, 'two keys to be passed over');
    expect(link(relay)).toMatchObject({ state: 'connected', peers: 4 });
    await untilRemote(relay, 4);
    await relay.commandsDone();
    const client = await DerpClient.connect(relay);
    client.sendPacket(keyOf(4), 'known');
    client.sendPacket(keyOf(5), 'passed over');
    await client.fence();
    expect(relay.drops()).toEqual({ unknown_dest: 1 });
    const { type, body } = await end.frame();
    expect([type, body.subarray(64).toString()]).toEqual([FrameType.ForwardPacket, 'known']);
    // The other one is asked again for what it has, once there is room.
    end.send(peerGoneFrame(keyOf(1), 0));
    const again = await other.linked();
    again.send(Buffer.concat([5, 6].map((number) => presence(keyOf(number)))));
    await untilRemote(relay, 2);
    expect(link(relay)).toMatchObject({ state: 'connected', peers: 2, passedOver: 2 });
  });

  it('packets for an ended link are dropped until their routes change', async () => {
    const other = await OtherRelay.start();
    const relay = await dialling(other);
    const alice = await DerpClient.connect(relay);
    const far = keyOf(1);
    // As if the control plane were late: a link that has been, and one that has not.
    relay.dataPlane.route(far, 4711);
    await relay.commandsDone();
    alice.sendPacket(far, discoPacket());
    alice.sendPacket(far, 'anything');
    expect(await alice.fence()).toEqual([]);
    expect(relay.drops()).toEqual({ mesh_down: 2 });
    relay.dataPlane.route(far, null);
    await relay.commandsDone();
    alice.sendPacket(far, discoPacket());
    expect(await alice.expect('PeerGone')).toEqual({ type: 'PeerGone', key: far, reason: 1 });
  });

  it('a link to the relay itself is closed, and not dialled again', async () => {
    trustOwnCertificate();
    const other = await OtherRelay.start();
    const [port] = (await freePorts(1)) as [number];
    const relay = meshNode(lane, { port, meshWith: [named(port), named(other.port)] });
    await relay.relay.start();
    await eventually(() => link(relay).state === 'self', 'the relay to know itself');
    await relay.untilFigures({ connections: 0 });
    const { trouble, peers, publicKey } = link(relay);
    expect({ trouble, peers }).toEqual({ trouble: '', peers: 0 });
    expect(publicKey).toBe(relay.relay.publicKey);
    // While the other is dialled twice.
    await (await other.linked()).wire.destroy();
    await other.linked();
    expect(relay.connected).toHaveLength(1);
    expect(relay.relay.figures().watchers).toBe(0);
  });

  it('a closed relay dials no more', async () => {
    const other = await OtherRelay.start();
    const relay = await dialling(other);
    const end = await other.next();
    await relay.close();
    await end.wire.ended();
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(other.waiting).toBe(0);
  });
});

/** A greeting with a key that no relay has. */
function greeting(length = 40): Buffer {
  const body = Buffer.alloc(length, 9);
  body.set(serverKeyFrame(generateKeyPair().publicKey).subarray(HEADER_LENGTH));
  return encodeFrame(FrameType.ServerKey, body);
}

function keyOf(number: number): NodeKey {
  const bytes = Buffer.alloc(KEY_LENGTH, 7);
  bytes.writeUInt32BE(number);
  return readNodeKey(bytes);
}
