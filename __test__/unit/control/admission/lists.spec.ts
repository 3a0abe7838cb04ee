import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HeadersFile, parseHeaders } from '../../../../src/control/admission/headers-file.js';
import { missingFrom, parseKeyList } from '../../../../src/control/admission/key-list.js';
import { Rounds } from '../../../../src/control/admission/rounds.js';
import { nodeKeyHex } from '../../../../src/protocol/key.js';

const [A, B] = ['ab'.repeat(32), 'cd'.repeat(32)];

describe('parseKeyList', () => {
  it('a key list may have keys in both forms, comments, blanks and empty lines', () => {
    const text = `# clients\n\nnodekey:${A} # laptop\r\n  ${B.toUpperCase()}\t\n${A}\n#${B}`;
    expect([...parseKeyList(text)].map(nodeKeyHex)).toEqual([A, B]);
    expect(parseKeyList('').size).toBe(0);
  });

  it.each([A.slice(1), `${A}0`, `privkey:${A}`, `${A} ${B}`, 'nodekey:', 'x'])('a key list may not have %s', (line) => {
    expect(() => parseKeyList(`${B}\n${line}\n`)).toThrow(/^line 2 /);
  });

  it('a key list says which line is wrong, and what belongs there', () => {
    const wrong = 'line 3 is not a node key: nodekey: and 64 hex digits, or the digits alone';
    expect(() => parseKeyList(`${B}\n\nx`)).toThrow(new Error(wrong));
    expect(() => parseKeyList(`\n\n${A.slice(0, 32)}nodekey:${A.slice(32)}`)).toThrow(new Error(wrong));
  });

  it('missingFrom returns the keys that the second list lacks', () => {
    const keys = parseKeyList(`${A}\n${B}`);
    expect(missingFrom(keys, parseKeyList(B)).map(nodeKeyHex)).toEqual([A]);
    expect(missingFrom(keys, keys)).toEqual([]);
  });
});

describe('parseHeaders', () => {
  it('a headers file has one header on each line', () => {
    expect(parseHeaders('# secret\nAuthorization: Bearer a b=\r\n\nX-Y:z  \n')).toEqual({
      Authorization: 'Bearer a b=',
      'X-Y': 'z',
    });
  });

  it('an error about a header does not repeat it', () => {
    const wrong = () => parseHeaders('A: b\nBearer my secret\n');
    expect(wrong).toThrow(/^line 2 /);
    expect(wrong).not.toThrow(/my secret/);
  });
});

describe('a headers file', () => {
  it('a headers file may have comments, blanks, and every character that HTTP allows', () => {
    const text = "#\n  # x\n   \nA:\nB:   b\t \nC:\n!#$%&'*+.^_`|~9-z: \tc d\xe9~ \nX: :\n#A: x";
    expect(parseHeaders(text)).toEqual({ A: '', B: 'b', C: '', "!#$%&'*+.^_`|~9-z": 'c d\xe9~', X: ':' });
  });

  it.each([' A: b', 'A b: c', ': c', 'A', 'A: b\x01c', 'A: \u20ac', 'A\xe9: b', 'A : b', 'x#'])(
    'a headers file may not have the line %j',
    (line) => {
      const wrong = new Error('line 2 is not a header of the form Name: value');
      expect(() => parseHeaders(`A: b\n${line}`)).toThrow(wrong);
    },
  );

  it('a headers file that cannot be read, or is faulty, leaves the headers as they were', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'derpkit-headers-'));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const file = new HeadersFile(join(directory, 'headers'));
    expect(file.headers).toEqual({});
    writeFileSync(file.path, 'A: b\n');
    await file.load();
    for (const change of [() => writeFileSync(file.path, 'nonsense\n'), () => rmSync(file.path)]) {
      change();
      await expect(file.load()).rejects.toThrow();
      expect(file.headers).toEqual({ A: 'b' });
    }
  });
});

describe('Rounds', () => {
  it('every member has one turn in an interval, spread over it', () => {
    let at = 0;
    const rounds = new Rounds<number>(10_000, () => (at++ % 10) / 10);
    for (let member = 0; member < 100; member++) rounds.add(member);
    expect(rounds.tick).toBe(1000);
    const first = Array.from({ length: 10 }, () => rounds.next());
    expect(first.map((part) => part.length)).toEqual(Array(10).fill(10));
    expect(new Set(first.flat()).size).toBe(100);
    rounds.remove(0);
    expect(Array.from({ length: 10 }, () => rounds.next()).flat()).toHaveLength(99);
    expect(rounds.size).toBe(99);
    // It may have gone already.
    rounds.remove(0);
    expect(rounds.size).toBe(99);
  });

  it('a turn lasts at least a second, and an interval has a bounded number of turns', () => {
    expect(new Rounds(10, Math.random).tick).toBe(10);
    expect(new Rounds(86_400_000, Math.random).tick).toBe(144_000);
  });
});
