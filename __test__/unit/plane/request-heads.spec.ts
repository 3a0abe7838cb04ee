/** `__test__/vectors/request-heads.json`, which the native plane must pass, too. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Head, HeadReader, isHttpToTls } from '../../../src/plane/js/http-head.js';

interface HeadVector {
  readonly text: string;
  readonly head: 'more' | 'bad' | 'http' | 'derp';
  readonly decided?: number;
  readonly handed?: string;
  readonly fastStart?: boolean;
  readonly notIdeal?: boolean;
}

const vectors: {
  readonly heads: Readonly<Record<string, HeadVector>>;
  readonly httpToTls: Readonly<Record<string, boolean | null>>;
} = JSON.parse(readFileSync(new URL('../../vectors/request-heads.json', import.meta.url), 'utf8'));

const LIMIT = 16 << 10;

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

function expected({ head, fastStart, notIdeal, text }: HeadVector): Head {
  return head === 'derp' ? ({ fastStart, notIdeal, end: text.length } as Head) : head;
}

describe.each(Object.entries(vectors.heads))('the request head %s', (_name, vector) => {
  const all = latin1(vector.text);
  const { decided = all.length + 1 } = vector;

  it('a head is recognised at the byte that decides, however the head is cut', () => {
    const reader = new HeadReader(LIMIT);
    for (let length = 0; length <= all.length; length++) {
      const wanted = length < decided ? 'more' : expected(vector);
      expect(new HeadReader(LIMIT).read(all.subarray(0, length)), `${length} bytes`).toEqual(wanted);
      if (length <= decided) expect(reader.read(all.subarray(0, length)), `to ${length} bytes`).toEqual(wanted);
    }
  });

  it.runIf(vector.head === 'http' || vector.head === 'bad')(
    'a head reaches the HTTP server with line ends that Node accepts, or as one byte that Node refuses',
    () => {
      const reader = new HeadReader(LIMIT);
      const head = reader.read(all);
      const body = '\n\nbehind\n';
      const handed = vector.head === 'bad' ? '\0' : (vector.handed ?? vector.text) + body;
      expect(reader.forHttp(latin1(vector.text + body), head).toString('latin1')).toBe(handed);
    },
  );
});

describe('HTTP on a TLS listener', () => {
  it.each(Object.entries(vectors.httpToTls))('a TLS listener tells HTTP from TLS: %j', (text, is) => {
    expect(isHttpToTls(latin1(text))).toBe(is ?? 'more');
  });
});
