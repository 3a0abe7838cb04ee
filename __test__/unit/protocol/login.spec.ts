import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../src/protocol/decode.js';
import { generateKeyPair, keyPairOf, nodeKeyBytes, nodeKeyHex } from '../../../src/protocol/key.js';
import { openClientInfo, openServerInfo, sealClientInfo, sealServerInfo } from '../../../src/protocol/login.js';
import { FrameType, HEADER_LENGTH } from '../../../src/protocol/wire.js';
import { bytes, cases, nodeKey, vectors } from '../vectors.js';

const server = keyPairOf(bytes(vectors.keys.values.server?.private));
const client = generateKeyPair();

describe('ClientInfo', () => {
  it.each(cases(vectors.login))('the ClientInfo %s, sealed by upstream, opens', (_name, { ClientInfo }) => {
    const opened = openClientInfo(bytes(ClientInfo.frame).subarray(HEADER_LENGTH), server.privateKey);
    expect(nodeKeyHex(opened.key)).toBe(nodeKeyHex(keyPairOf(bytes(ClientInfo.privateKey)).publicKey));
    expect(opened.info.version).toBe(2);
    expect(opened.info.meshKey).toBe(/"meshKey":"(\w+)"/.exec(ClientInfo.json)?.[1]);
    expect(opened.info.canAckPings).toBe(/"CanAckPings":true/.test(ClientInfo.json));
  });

  it.each(cases(vectors.login))(
    'the ClientInfo %s, sealed here, equals upstream’s except for the nonce',
    (_name, { ClientInfo }) => {
      const sender = keyPairOf(bytes(ClientInfo.privateKey));
      const frame = sealClientInfo(sender, nodeKey(ClientInfo.peerPublicKey), ClientInfo.json);
      expect(frame.subarray(0, HEADER_LENGTH).toString('hex')).toBe(ClientInfo.frameHeader);
      expect(frame.subarray(HEADER_LENGTH, 37)).toEqual(bytes(ClientInfo.frame).subarray(HEADER_LENGTH, 37));
      const opened = nacl.box.open(
        frame.subarray(61),
        frame.subarray(37, 61),
        nodeKeyBytes(sender.publicKey),
        server.privateKey,
      );
      expect(Buffer.from(opened ?? []).toString()).toBe(ClientInfo.json);
    },
  );

  it('each sealed ClientInfo has a fresh nonce', () => {
    const nonces = Array.from({ length: 8 }, () =>
      sealClientInfo(client, server.publicKey, '{}').toString('hex', 37, 61),
    );
    expect(new Set(nonces).size).toBe(8);
  });
});

describe('ServerInfo', () => {
  it.each(cases(vectors.login))('the ServerInfo %s, sealed by upstream, opens', (_name, { ClientInfo, ServerInfo }) => {
    const reader = keyPairOf(bytes(ClientInfo.privateKey));
    const body = bytes(ServerInfo.frame).subarray(HEADER_LENGTH);
    expect(openServerInfo(body, reader, server.publicKey)).toBe(ServerInfo.json);
  });

  it('a ServerInfo, sealed here, has upstream’s header and text, and opens with the client’s key alone', () => {
    const { ServerInfo } = vectors.login.values.regular as (typeof vectors.login.values)[string];
    const login = sealClientInfo(client, server.publicKey, '{"version":2}').subarray(HEADER_LENGTH);
    const frame = sealServerInfo(openClientInfo(login, server.privateKey).sharedKey);
    expect(frame[0]).toBe(FrameType.ServerInfo);
    expect(frame.subarray(0, HEADER_LENGTH).toString('hex')).toBe(ServerInfo.frameHeader);
    const body = frame.subarray(HEADER_LENGTH);
    expect(openServerInfo(body, client, server.publicKey)).toBe(ServerInfo.json);
    expect(openServerInfo(body, generateKeyPair(), server.publicKey)).toBeUndefined();
  });
});

describe('ClientInfos that do not open', () => {
  const body = sealClientInfo(client, server.publicKey, '{"version":2}').subarray(HEADER_LENGTH);

  it.each([
    ['another server’s', () => openClientInfo(body, generateKeyPair().privateKey)],
    ['cut short', () => openClientInfo(body.subarray(0, -1), server.privateKey)],
    ['nothing but key and nonce', () => openClientInfo(body.subarray(0, 56), server.privateKey)],
    ['with a tag that is cut', () => openClientInfo(body.subarray(0, 71), server.privateKey)],
    ['under another key', () => openClientInfo(flipped(body, 3), server.privateKey)],
    ['with another nonce', () => openClientInfo(flipped(body, 40), server.privateKey)],
    ['with another tag', () => openClientInfo(flipped(body, 60), server.privateKey)],
    ['with other text', () => openClientInfo(flipped(body, body.length - 1), server.privateKey)],
  ])('a ClientInfo does not open: %s', (_name, open) => {
    expect(open).toThrow(ProtocolError);
  });

  it('the error for a ClientInfo does not quote the text', () => {
    const secret = sealClientInfo(client, server.publicKey, '{"meshKey":"abcdef"}').subarray(HEADER_LENGTH);
    expect(() => openClientInfo(secret, server.privateKey)).toThrow(/^(?!.*abcdef).*$/);
  });
});

/** The points of order 1, 2, 4 and 8 in every encoding. The result of X25519 for them is known without any private key. */
const LOW_ORDER = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].flatMap((hex) => [hex, hex.slice(0, 62) + (Number.parseInt(hex.slice(62), 16) | 0x80).toString(16)]);

describe('keys of low order', () => {
  it.each(LOW_ORDER)('the key %s, of low order, proves nothing', (hex) => {
    const known = nacl.box.before(bytes(hex), generateKeyPair().privateKey);
    expect(known).toEqual(nacl.box.before(bytes(LOW_ORDER[0]), server.privateKey));
    const nonce = Buffer.alloc(24, 7);
    const box = nacl.box.after(Buffer.from('{"version":2}'), nonce, known);
    expect(() => openClientInfo(Buffer.concat([bytes(hex), nonce, box]), server.privateKey)).toThrow(ProtocolError);
  });

  it('no relay has a key of low order', () => {
    expect(() => sealClientInfo(client, nodeKey(LOW_ORDER[2]), '{}')).toThrow(ProtocolError);
  });
});

function flipped(body: Buffer, at: number): Buffer {
  const copy = Buffer.from(body);
  copy[at] = (copy[at] as number) ^ 1;
  return copy;
}
