import { describe, expect, it } from 'vitest';
import { declaredWords, rustProduced, rustWords, tsProduced } from './close-reasons.js';
import { read, sources, trackedFiles } from './project.js';

const declared = declaredWords(read('src/plane/plane.ts'));
const ts = [...sources()];
/** What the control plane closes connections with, on either plane. */
const control = tsProduced(ts.filter(([path]) => !path.startsWith('plane/')).map(([, text]) => text));
const crates = trackedFiles()
  .filter((path) => /^crates\/[^/]+\/src\/.*\.rs$/.test(path) && !/(?:^|\/)tests(?:\/|\.rs$)/.test(path))
  .map(read);
const rust = rustWords(crates);

describe('the words of CloseReason', () => {
  it('have a comment each in plane.ts', () => {
    expect(declared.size).toBeGreaterThan(10);
    expect([...declared].filter(([, comment]) => comment === '')).toEqual([]);
  });

  it('are those of the enum in the crates, and no others', () => {
    expect([...rust.values()].sort()).toEqual([...declared.keys()].sort());
  });

  it('each end a connection somewhere on the native plane', () => {
    const produced = rustProduced(crates);
    const words = [...rust].filter(([variant, word]) => produced.has(variant) || control.has(word));
    expect(words.map(([, word]) => word).sort()).toEqual([...declared.keys()].sort());
  });

  it('each end a connection somewhere on the JavaScript plane', () => {
    const js = tsProduced(ts.filter(([path]) => path.startsWith('plane/js/')).map(([, text]) => text));
    const words = [...declared.keys()].filter((word) => js.has(word) || control.has(word));
    expect(words).toEqual([...declared.keys()]);
  });
});

describe('these tests can fail', () => {
  it('finds words, and the comments that they lack', () => {
    const text =
      "export type CloseReason =\n  /** Gone. */\n  | 'gone'\n  | 'bare'\n  /** Two\n   * lines. */\n  | 'two';\n";
    expect([...declaredWords(text)]).toEqual([
      ['gone', 'Gone.'],
      ['bare', ''],
      ['two', 'Two\n   * lines.'],
    ]);
  });

  it('finds the enum, in the one file that has it', () => {
    const text = 'pub enum CloseReason {\n}\nclose_reasons! {\n    /// Away.\n    Gone => "gone",\n}\n';
    expect([...rustWords(['fn other() {}', text])]).toEqual([['Gone', 'gone']]);
    expect(() => rustWords(['fn other() {}'])).toThrow('0 files');
    expect(() => rustWords([text, text])).toThrow('2 files');
  });

  it('does not take words that are only matched or compared for ends', () => {
    const text =
      'Err(CloseReason::Made) CloseReason::Matched => 1, (_, CloseReason::Inner) => 2, it == CloseReason::Same';
    expect([...rustProduced([text])]).toEqual(['Made']);
  });

  it('does not take words that are not in a call for ends', () => {
    const text = "this.close(late ? 'one' : 'two');\nthis.phase = 'three';\nrelieve: (it) => it.close('four'),\n";
    expect([...tsProduced([text])]).toEqual(['one', 'two', 'four']);
  });
});
