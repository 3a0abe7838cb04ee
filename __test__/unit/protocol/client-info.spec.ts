import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../src/protocol/decode.js';
import { parseClientInfo } from '../../../src/protocol/login.js';
import { busyTime } from '../../helpers/wait.js';
import { bytes, cases, type DecodedInfo, vectors } from '../vectors.js';

const info = (json: string) => parseClientInfo(Buffer.from(json));

describe('the JSON of a ClientInfo', () => {
  it.each(cases(vectors.clientInfoJson))('a ClientInfo is read as in Go: %s', (_name, { hex, accepted, decoded }) => {
    if (accepted) expect(fields(bytes(hex))).toEqual(decoded);
    else expect(() => parseClientInfo(bytes(hex))).toThrow(ProtocolError);
  });
});

describe('app names', () => {
  it.each(cases(vectors.appNames))(
    'an app name is accepted or refused as upstream does: %s',
    (_name, { text, valid }) => {
      const json = JSON.stringify({ AppName: text });
      if (valid) expect(info(json).appName).toBe(text);
      else expect(() => info(json)).toThrow('invalid app name');
    },
  );
});

describe('mesh keys in a ClientInfo', () => {
  it.each(cases(vectors.meshKeys))('a mesh key in a ClientInfo must have 64 hex digits: %s', (_name, { text }) => {
    const json = JSON.stringify({ meshKey: text });
    if (/^[0-9a-f]{64}$/i.test(text)) expect(info(json).meshKey).toBe(text.toLowerCase());
    else expect(() => info(json)).toThrow('invalid mesh key');
  });

  it('an absent mesh key is none, and an all-zero mesh key is a key like any other', () => {
    expect(info('{}').meshKey).toBeUndefined();
    expect(info(`{"meshKey":"${'0'.repeat(64)}"}`).meshKey).toBe('0'.repeat(64));
  });
});

describe('members of the JSON', () => {
  it.each([
    ['commas and brackets in text', '{"future":"},{\\"version\\":9,[","version":2}'],
    ['text that ends in a backslash', '{"future":"\\\\","version":2}'],
    ['an escaped quote before the end', '{"future":"\\\\\\"","version":2}'],
    ['equal names further in', '{"future":{"version":7,"AppName":8},"version":2,"x":[{"meshKey":1}]}'],
    ['space everywhere', ' { "x" : [ 1 , 2 ] , "version" : 2 } '],
    ['the member version alone', '{"version":2}'],
  ])('a ClientInfo is read with %s', (_name, json) => {
    expect(info(json)).toMatchObject({ version: 2, appName: '', meshKey: undefined });
  });

  it.each([
    ['i without a dot', '{"\u0131sProber":true}'],
    ['I with a dot', '{"\u0130sProber":true}'],
    ['a name within a name', '{"myIsProber":true,"IsProberNot":true,"Is\\nProber":true}'],
  ])('%s does not match the member IsProber', (_name, json) => {
    expect(info(json).isProber).toBe(false);
  });

  it('members are read in one pass', () => {
    const many = `{${'"":"\\\\",'.repeat(30_000)}"version":2}`;
    expect(busyTime(() => expect(info(many).version).toBe(2))).toBeLessThan(1000);
  });
});

describe('the depth of the JSON', () => {
  const { deepestListInUnknownField: deepest } = vectors.clientInfoDepth;
  const nested = (depth: number) => `{"future":${'['.repeat(depth)}${']'.repeat(depth)},"version":2}`;

  it('the depth of a ClientInfo is bounded as in Go', () => {
    expect(info(nested(deepest)).version).toBe(2);
    expect(() => info(nested(deepest + 1))).toThrow(ProtocolError);
  });

  it('many shallow members do not add up to depth', () => {
    expect(info(`{${'"x":[[]],'.repeat(6_000)}"version":2}`).version).toBe(2);
  });
});

/** In upstream's terms, where an absent mesh key equals an all-zero one. */
function fields(json: Buffer): DecodedInfo {
  const { meshKey, ...rest } = parseClientInfo(json);
  return { ...rest, meshKey: meshKey === undefined || /^0+$/.test(meshKey) ? '' : meshKey };
}
