/** Logins and frames: what a relay makes of each, right and wrong. */

import { setTimeout } from 'node:timers/promises';
import {
  closePeerFrame,
  encodeFrame,
  forwardPacketFrame,
  notePreferredFrame,
  sendPacketFrame,
  WATCH_CONNS_FRAME,
} from '../../../src/protocol/frame.js';
import { generateKeyPair } from '../../../src/protocol/key.js';
import { FrameType, HEADER_LENGTH, MAX_BODY_LENGTH, MAX_FORWARD_LENGTH } from '../../../src/protocol/wire.js';
import { discoPacket } from '../../helpers/client.js';
import type { Face } from './faces.ts';
import type { Case, Script } from './transcript.ts';

/** As `makeWorkspace` writes it. */
const MESH_KEY = '5eed'.repeat(16);

function named(name: string, play: Case['play'], face: Face = 'plain'): Case {
  return { name: `${face}: ${name}`, face, play };
}

/** A header that says more than what follows. */
function header(type: number, length: number): Buffer {
  const bytes = Buffer.alloc(HEADER_LENGTH);
  bytes[0] = type;
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

/** A login with this ClientInfo, or with other bytes in its place. */
function login(about: string, info: Record<string, unknown> | string | Buffer, face: Face = 'plain'): Case {
  return named(
    `login: ${about}`,
    async (script) => {
      const client = await script.dial('A', Buffer.isBuffer(info) ? {} : { info });
      client.wire.write(client.head, Buffer.isBuffer(info) ? info : client.clientInfo);
      client.readFrames();
      script.frame(client, await client.next());
      const answer = await client.next().catch(() => undefined);
      if (answer) script.frame(client, answer);
      else script.note('refused');
    },
    face,
  );
}

/** One client, logged in, and frames from it. */
function frames(about: string, ...sent: readonly Uint8Array[]): Case {
  return named(`frames: ${about}`, async (script) => script.send(await script.connect('A'), ...sent));
}

/** The same from a mesh peer. */
function meshFrames(about: string, ...sent: readonly Uint8Array[]): Case {
  return named(`mesh frames: ${about}`, async (script) => {
    await script.send(await script.connect('M', { meshKey: MESH_KEY }), ...sent);
  });
}

const NOBODY = generateKeyPair().publicKey;
const TYPES = [0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x08, 0x09, 0x0b, 0x0f, 0x13, 0x14, 0x15, 0x16, 0x7f, 0xff];
const byte = (type: number) => `type 0x${type.toString(16).padStart(2, '0')}`;

const LOGINS: readonly Case[] = [
  login('as usual', {}),
  login('over TLS', {}, 'tls'),
  login('null', 'null'),
  login('no member', '{}'),
  login('names in other letters', '{"VERSION":2,"canackpings":false}'),
  login('a version of another type', '{"version":"2"}'),
  login('a version that is a fraction', '{"version":2.5}'),
  login('a version of null', '{"version":null}'),
  login('an array', '[]'),
  login('no JSON', 'nonsense'),
  login('nothing', ''),
  login('something behind it', '{"version":2} x'),
  login('a blank behind it', '{"version":2} \n'),
  login('a member twice', '{"version":"x","version":2}'),
  login('unknown members', { other: [1, { deep: true }] }),
  login('a prober', { IsProber: true }),
  login('the mesh key', { meshKey: MESH_KEY }),
  login('a mesh key in upper case', { meshKey: MESH_KEY.toUpperCase() }),
  login('another mesh key', { meshKey: 'ab'.repeat(32) }),
  login('a short mesh key', { meshKey: 'abcd' }),
  login('an empty mesh key', { meshKey: '' }),
  login('a mesh key of null', '{"meshKey":null}'),
  login('a mesh key of zeros', { meshKey: '00'.repeat(32) }),
  login('a mesh key with a blank', { meshKey: `${MESH_KEY} ` }),
  login('an app name', { AppName: 'an app' }),
  login('an app name of 32 bytes', { AppName: 'x'.repeat(32) }),
  login('an app name of 33 bytes', { AppName: 'x'.repeat(33) }),
  login('an app name of odd bytes', { AppName: 'é' }),
  login('an app name that is not allowed', { AppName: 'banned' }, 'tls'),
  login('an app name that is allowed', { AppName: 'bannedx' }, 'tls'),
  login('a frame of another type first', notePreferredFrame(true)),
  login('a ClientInfo that is too short', encodeFrame(FrameType.ClientInfo, Buffer.alloc(55))),
  login('a ClientInfo that is too long', header(FrameType.ClientInfo, (256 << 10) + 1)),
  login('a box of zeros', encodeFrame(FrameType.ClientInfo, Buffer.alloc(100))),
  login('a box of other bytes', encodeFrame(FrameType.ClientInfo, Buffer.alloc(100, 7))),
];

const FRAMES: readonly Case[] = [
  ...[8, 9, 1000].map((length) =>
    named(`ping of ${length} bytes`, async (script) => {
      const client = await script.connect('A');
      client.send(encodeFrame(FrameType.Ping, Buffer.alloc(length, 1)));
      // Another ping would be left out while this one has no answer.
      await script.next(client);
    }),
  ),
  ...[7, 0, 1001].map((length) =>
    frames(`ping of ${length} bytes`, encodeFrame(FrameType.Ping, Buffer.alloc(length, 1))),
  ),
  ...[0, 1, 2].map((length) =>
    frames(`NotePreferred of ${length} bytes`, encodeFrame(FrameType.NotePreferred, Buffer.alloc(length, 9))),
  ),
  ...TYPES.flatMap((type) => [
    frames(`${byte(type)}, empty`, header(type, 0)),
    frames(`${byte(type)}, as long as may be`, header(type, MAX_BODY_LENGTH), Buffer.alloc(MAX_BODY_LENGTH)),
    frames(`${byte(type)}, too long`, header(type, MAX_BODY_LENGTH + 1)),
  ]),
  frames('packet without a whole key', encodeFrame(FrameType.SendPacket, Buffer.alloc(31))),
  frames('packet to nobody', sendPacketFrame(NOBODY, Buffer.from('x'))),
  frames('discovery to nobody', sendPacketFrame(NOBODY, discoPacket())),
  frames('discovery to nobody, too short for that', sendPacketFrame(NOBODY, discoPacket().subarray(0, 61))),
  frames('packet that is too long', header(FrameType.SendPacket, MAX_BODY_LENGTH + 1), Buffer.alloc(32)),
  frames('WatchConns of a client', WATCH_CONNS_FRAME),
  frames('WatchConns with a body', encodeFrame(FrameType.WatchConns, Buffer.alloc(1))),
  frames('ClosePeer of a client', closePeerFrame(NOBODY)),
  frames('ForwardPacket of a client', forwardPacketFrame(NOBODY, NOBODY, Buffer.from('x'))),
  meshFrames('WatchConns with a body', encodeFrame(FrameType.WatchConns, Buffer.alloc(1))),
  meshFrames('ClosePeer of nobody', closePeerFrame(NOBODY)),
  meshFrames('ClosePeer without a whole key', encodeFrame(FrameType.ClosePeer, Buffer.alloc(31))),
  meshFrames('ClosePeer with more than a key', encodeFrame(FrameType.ClosePeer, Buffer.alloc(33))),
  meshFrames('ForwardPacket to nobody', forwardPacketFrame(NOBODY, NOBODY, Buffer.from('x'))),
  meshFrames('ForwardPacket without whole keys', encodeFrame(FrameType.ForwardPacket, Buffer.alloc(63))),
  meshFrames(
    'ForwardPacket that is too long',
    header(FrameType.ForwardPacket, MAX_FORWARD_LENGTH + 1),
    Buffer.alloc(64),
  ),
  ...[0, 1, 1000, 64 << 10].flatMap((length) =>
    (['plain', 'tls'] as const).map((face) =>
      named(
        `packet of ${length} bytes`,
        async (script) => {
          const [a, b] = [await script.connect('A'), await script.connect('B')];
          a.sendPacket(b.key, Buffer.alloc(length, 'x'));
          a.sendPacket(a.key, 'to itself');
          await script.next(a);
          await script.next(b);
        },
        face,
      ),
    ),
  ),
  named('a peer that goes, having sent', async (script) => {
    const [a, b] = [await script.connect('A'), await script.connect('B')];
    a.sendPacket(b.key, 'x');
    await script.next(b);
    await a.close();
    await script.next(b);
    await script.send(b, sendPacketFrame(a.key, discoPacket()));
  }),
  named('two connections of one key', async (script) => {
    const keys = generateKeyPair();
    const sender = await script.connect('S');
    const first = await script.connect('D', { keys });
    const second = await script.connect('D', { keys });
    await toBoth(script, 'the second', sender, first, second);
    await script.send(first, notePreferredFrame(true));
    await toBoth(script, 'after a word of the first', sender, first, second);
    await second.close();
    // Nobody is told that a relay has seen the end, and whatever the first said would make it the active one.
    await setTimeout(300);
    await toBoth(script, 'the second gone', sender, first);
  }),
  named('what a watcher sees', async (script) => {
    const watcher = await script.connect('M', { meshKey: MESH_KEY });
    await script.send(watcher, WATCH_CONNS_FRAME);
    for (const [name, options] of [
      ['A', {}],
      ['P', { prober: true }],
      ['N', { idealNode: '1a' }],
      ['O', { meshKey: MESH_KEY }],
      ['Q', { appName: 'an app' }],
    ] as const) {
      const peer = await script.connect(name, options);
      await seen(script, watcher, 'PeerPresent', peer.key);
      await peer.close();
      await seen(script, watcher, 'PeerGone', peer.key);
    }
  }),
  named('a mesh peer that closes a client, and forwards to another', async (script) => {
    const mesh = await script.connect('M', { meshKey: MESH_KEY });
    const [a, b] = [await script.connect('A'), await script.connect('B')];
    mesh.closePeer(a.key);
    await script.untilEnd(a);
    const far = generateKeyPair().publicKey;
    script.call(far, 'F');
    mesh.forwardPacket(far, b.key, 'from afar');
    mesh.forwardPacket(far, far, discoPacket());
    await script.settle(mesh);
    await script.settle(b);
  }),
  frames('many at once', notePreferredFrame(true), notePreferredFrame(false), header(0x7f, 0)),
];

export const FRAME_CASES: readonly Case[] = [...LOGINS, ...FRAMES];

type Client = Awaited<ReturnType<Script['connect']>>;

/** A packet to a key that several have, and who gets it. */
async function toBoth(script: Script, text: string, sender: Client, ...receivers: readonly Client[]): Promise<void> {
  sender.sendPacket((receivers[0] as Client).key, text);
  await script.settle(sender);
  for (const [index, receiver] of receivers.entries()) {
    script.note(`connection ${index + 1}:`);
    await script.settle(receiver);
  }
}

/** Waits for the frame about a peer; those about others are of other cases. */
async function seen(
  script: Script,
  watcher: Client,
  type: 'PeerPresent' | 'PeerGone',
  key: Client['key'],
): Promise<void> {
  for (;;) {
    const frame = await watcher.next();
    script.frame(watcher, frame);
    if (frame.type === type && frame.key === key) return;
  }
}
