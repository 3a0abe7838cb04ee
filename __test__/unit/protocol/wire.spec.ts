import { describe, expect, it } from 'vitest';
import { parseSettings } from '../../../src/config.js';
import * as wire from '../../../src/protocol/wire.js';
import { planePolicy } from '../../../src/relay/policy.js';
import { bytes, cases, vectors } from '../vectors.js';

const policy = planePolicy(parseSettings({}));

describe('the vector file', () => {
  it('the vector file has these groups of facts, each with a test', () => {
    expect(Object.keys(vectors).sort()).toEqual([
      'appNames', // login.spec
      'clientInfoDepth', // client-info.spec
      'clientInfoJson', // client-info.spec
      'clientReads', // facts of the client alone, which is not ours
      'constants', // here
      'disco', // here
      'documented', // here
      'drops', // plane/counters.spec
      'firstFrames', // plane/session.spec
      'frameTypes', // here
      'frames', // frame.spec
      'inboundFrames', // plane/session.spec
      'keyText', // key.spec
      'keys', // key.spec
      'login', // login.spec
      'meshKeys', // key.spec
      'metaCert', // control/x509.spec
      'noContent', // http/pages.spec
      'peerGoneReasons', // here
      'peerPresentFlags', // here
      'serverInfoJson', // how the client reads it
      'stun', // plane/stun.spec
      'upgrade', // upgrade.spec, plane/http-head.spec
      'upstream',
    ]);
  });
});

describe('enumerations', () => {
  it('the types of frames are upstream’s, no more and no fewer', () => {
    expect(wire.FrameType).toEqual(vectors.frameTypes.values);
  });

  it('the reasons of PeerGone are upstream’s, no more and no fewer', () => {
    expect(wire.PeerGoneReason).toEqual(vectors.peerGoneReasons.values);
  });

  it('the flags of PeerPresent are upstream’s, without the prefix Is', () => {
    const theirs = Object.entries(vectors.peerPresentFlags.values).map(([name, bit]) => [name.replace(/^Is/, ''), bit]);
    expect(wire.PresenceFlag).toEqual(Object.fromEntries(theirs));
  });
});

/** Constants that this module has, by upstream's names. */
const TWINS: Record<string, string | number> = {
  BoxOverhead: wire.BOX_OVERHEAD,
  DiscoMagic: wire.DISCO_MAGIC.toString('hex'),
  DiscoMinLen: wire.MIN_DISCO_LENGTH,
  FrameHeaderLen: wire.HEADER_LENGTH,
  KeyLen: wire.KEY_LENGTH,
  Magic: wire.MAGIC.toString('hex'),
  MaxAppNameLen: wire.MAX_APP_NAME_LENGTH,
  MaxInfoLen: wire.MAX_SERVER_INFO_LENGTH,
  MaxPacketSize: wire.MAX_PACKET_LENGTH,
  NonceLen: wire.NONCE_LENGTH,
  ProtocolVersion: wire.PROTOCOL_VERSION,
};

/** Constants of upstream's that are a policy, or a text in one place, here. */
const ELSEWHERE: Record<string, string | number> = {
  DefaultTCPWriteTimeoutSeconds: policy.deadlines.write / 1000,
  KeepAliveSeconds: policy.keepAlive.interval / 1000,
  // plane/http-head.spec and http/server.spec send these headers.
  FastStartHeader: 'Derp-Fast-Start',
  IdealNodeHeader: 'Ideal-Node',
  // http/pages.spec
  NoContentChallengeHeader: 'X-Tailscale-Challenge',
  NoContentResponseHeader: 'X-Tailscale-Response',
  // control/x509.spec
  MetaCertCommonNamePrefix: 'derpkey',
};

const DOCUMENTED: Record<string, number> = {
  // registry.spec tries it.
  HomeMoveGraceSeconds: 5,
  KeepAliveJitterSeconds: policy.keepAlive.jitter / 1000,
  LoginTimeoutSeconds: policy.deadlines.clientInfo / 1000,
  MeshWriteTimeoutSeconds: policy.deadlines.meshWrite / 1000,
  NotHereBurst: policy.notHere.burst,
  NotHerePerSecond: policy.notHere.perSecond,
  SendQueueDepth: policy.queueDepth,
};

describe('constants', () => {
  it('constants are upstream’s, no more and no fewer', () => {
    expect({ ...TWINS, ...ELSEWHERE }).toEqual(valuesOf(vectors.constants));
  });

  it('the values that upstream only documents are equal here', () => {
    expect(DOCUMENTED).toEqual(valuesOf(vectors.documented));
  });

  it('our own constants follow from upstream’s', () => {
    const { KEY_LENGTH, MAX_PACKET_LENGTH, NONCE_LENGTH } = wire;
    const derived: Partial<Record<keyof typeof wire, number>> = {
      MAX_BODY_LENGTH: KEY_LENGTH + MAX_PACKET_LENGTH,
      MAX_FORWARD_LENGTH: KEY_LENGTH + KEY_LENGTH + MAX_PACKET_LENGTH,
      MIN_CLIENT_INFO_LENGTH: KEY_LENGTH + NONCE_LENGTH,
      MAX_CLIENT_INFO_LENGTH: Math.max(...takenFirstFrames()),
      MAX_GREETING_LENGTH: 1024,
      PING_LENGTH: Math.min(...takenLengths(wire.FrameType.Ping)),
      MAX_PING_LENGTH: Math.max(...takenLengths(wire.FrameType.Ping)),
      PEER_PRESENT_LENGTH: bodyLength('PeerPresent'),
      PEER_GONE_LENGTH: bodyLength('PeerGone'),
    };
    for (const [name, value] of Object.entries(derived)) expect(wire, name).toHaveProperty(name, value);

    const known = [...Object.keys(derived), 'FrameType', 'PeerGoneReason', 'PresenceFlag', 'looksLikeDisco'];
    const rest = Object.entries(wire).filter(([name]) => !known.includes(name));
    // Every other export is one of the twins.
    expect(rest.map(([, value]) => textOf(value)).sort()).toEqual(Object.values(TWINS).map(textOf).sort());
  });

  it('the bounds of frames are upstream’s', () => {
    expect(wire.MAX_BODY_LENGTH).toBe(Math.max(...takenLengths(wire.FrameType.SendPacket)));
    expect(wire.MAX_FORWARD_LENGTH).toBe(Math.max(...takenLengths(wire.FrameType.ForwardPacket)));
    expect(wire.MIN_CLIENT_INFO_LENGTH).toBe(Math.min(...takenFirstFrames()));
  });
});

describe('looksLikeDisco', () => {
  it.each(cases(vectors.disco))('a packet looks like discovery as upstream decides: %s', (_name, { hex, disco }) => {
    const packet = bytes(hex);
    expect(wire.looksLikeDisco(packet, 0, packet.length)).toBe(disco);
    // Inside a frame, with other bytes around the packet.
    const framed = Buffer.concat([bytes('5453f09f92ac'), packet, Buffer.alloc(100)]);
    expect(wire.looksLikeDisco(framed, 6, 6 + packet.length)).toBe(disco);
  });
});

function valuesOf(constants: typeof vectors.constants): Record<string, string | number> {
  return Object.fromEntries(Object.entries(constants).map(([name, { value }]) => [name, value]));
}

function textOf(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString('hex') : String(value);
}

function bodyLength(name: string): number {
  return bytes(vectors.frames[name]?.hex).length - wire.HEADER_LENGTH;
}

function takenLengths(type: number): number[] {
  return cases(vectors.inboundFrames)
    .filter(([, frame]) => frame.type === type && !frame.closes)
    .map(([, { length }]) => length);
}

function takenFirstFrames(): number[] {
  return cases(vectors.firstFrames)
    .filter(([, { taken }]) => taken)
    .map(([, { length }]) => length);
}
