import { describe, expect, it } from 'vitest';
import { declaredWords, rustProduced, rustWords, tsProduced } from './close-reasons.js';
import { read, sources, trackedFiles } from './project.js';

const declared = declaredWords(read('src/plane/plane.ts'));
const ts = [...sources()];
/** The words that the control plane closes connections with, on either plane. */
const control = tsProduced(ts.filter(([path]) => !path.startsWith('plane/')).map(([, text]) => text));
const crates = trackedFiles()
  .filter((path) => /^crates\/[^/]+\/src\/.*\.rs$/.test(path) && !/(?:^|\/)tests(?:\/|\.rs$)/.test(path))
  .map(read);
const rust = rustWords(crates);

describe('the words of CloseReason', () => {
  it('each word of CloseReason has a comment in plane.ts', () => {
    expect(declared.size).toBeGreaterThan(10);
    expect([...declared].filter(([, comment]) => comment === '')).toEqual([]);
  });

  it('the words of CloseReason are those of the enum in the crates, and no others', () => {
    expect([...rust.values()].sort()).toEqual([...declared.keys()].sort());
  });

  it('each word of CloseReason ends a connection somewhere on the native plane', () => {
    const produced = rustProduced(crates);
    const words = [...rust].filter(([variant, word]) => produced.has(variant) || control.has(word));
    expect(words.map(([, word]) => word).sort()).toEqual([...declared.keys()].sort());
  });

  it('each word of CloseReason ends a connection somewhere on the JavaScript plane', () => {
    const js = tsProduced(ts.filter(([path]) => path.startsWith('plane/js/')).map(([, text]) => text));
    const words = [...declared.keys()].filter((word) => js.has(word) || control.has(word));
    expect(words).toEqual([...declared.keys()]);
  });
});

describe('these tests can fail', () => {
  it('the test finds words, and missing comments', () => {
    const text =
      "export type CloseReason =\n  /** Gone. */\n  | 'gone'\n  | 'bare'\n  /** Two\n   * lines. */\n  | 'two';\n";
    expect([...declaredWords(text)]).toEqual([
      ['gone', 'Gone.'],
      ['bare', ''],
      ['two', 'Two\n   * lines.'],
    ]);
  });

  it('the test finds the enum, in exactly one file', () => {
    const text = 'pub enum CloseReason {\n}\nclose_reasons! {\n    /// Away.\n    Gone => "gone",\n}\n';
    expect([...rustWords(['fn other() {}', text])]).toEqual([['Gone', 'gone']]);
    expect(() => rustWords(['fn other() {}'])).toThrow('0 files');
    expect(() => rustWords([text, text])).toThrow('2 files');
  });

  it('a word that is only matched or compared counts as no end', () => {
    const text =
      'Err(CloseReason::Made) CloseReason::Matched => 1, (_, CloseReason::Inner) => 2, it == CloseReason::Same';
    expect([...rustProduced([text])]).toEqual(['Made']);
  });

  it('a word outside of a call counts as no end', () => {
    const text = "this.close(late ? 'one' : 'two');\nthis.phase = 'three';\nrelieve: (it) => it.close('four'),\n";
    expect([...tsProduced([text])]).toEqual(['one', 'two', 'four']);
  });
});
