/** The walks of ARCHITECTURE.md: every function that a step names is in the file that the step names. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, read } from './project.js';

interface Step {
  /** `Type.function`, or `function` alone. */
  readonly name: string;
  readonly file: string;
}

/** The steps of a document: a name in backquotes, and its file in backquotes and parentheses behind it. */
function stepsOf(document: string): Step[] {
  const steps = document.matchAll(/`([\w.]+)`\s+\(`((?:src|crates)\/[^`]+)`\)/g);
  return [...steps].map(([, name = '', file = '']) => ({ name, file }));
}

/** Whether a source, TypeScript or Rust, defines the type and the function of a name. */
function defines(source: string, name: string): boolean {
  const [member = '', type] = name.split('.').reverse();
  const hasType = type === undefined || new RegExp(`\\b(?:class|impl)\\b[^{;]*\\b${type}\\b`).test(source);
  const typescript = `^\\s*(?:export |private |static |async |readonly )*(?:function )?${member}(?: = )?\\(.*[{>]$`;
  const rust = `\\bfn ${member}[<(]`;
  return hasType && new RegExp(`${typescript}|${rust}`, 'm').test(source);
}

function unknown(steps: readonly Step[]): Step[] {
  return steps.filter(({ name, file }) => !existsSync(join(ROOT, file)) || !defines(read(file), name));
}

describe('the walks of ARCHITECTURE.md', () => {
  const walks = read('ARCHITECTURE.md')
    .split(/^## /m)
    .filter((section) => /^(?:A|An) .*’?s way\n/.test(section));

  it('the walks follow a packet, a login and an HTTP request', () => {
    expect(walks.map((walk) => walk.split('\n', 1)[0])).toEqual([
      "A packet's way",
      "A login's way",
      "An HTTP request's way",
    ]);
  });

  it('the walks name functions and files that exist', () => {
    for (const walk of walks) expect(stepsOf(walk).length, walk.split('\n', 1)[0]).toBeGreaterThanOrEqual(5);
    expect(unknown(walks.flatMap(stepsOf))).toEqual([]);
  });

  it('each numbered step names a function', () => {
    const first = walks.flatMap((walk) => [...walk.matchAll(/^\d+\. (.*)$/gm)].map(([, step = '']) => step));
    expect(first.filter((step) => !/`[\w.]+`/.test(step))).toEqual([]);
  });
});

describe('the test of the walks can fail', () => {
  it.each([
    ['a file that does not exist', '`Session.onFrame` (`src/plane/js/no-session.ts`)'],
    ['a function that does not exist', '`Session.onNothing` (`src/plane/js/session.ts`)'],
    ['a function that is only called there', '`Session.lookup` (`src/plane/js/session.ts`)'],
    ['a type that does not exist', '`Sitting.onFrame` (`src/plane/js/session.ts`)'],
    ['a Rust function that does not exist', '`Worker.walk` (`crates/derp-net/src/worker.rs`)'],
  ])('the test finds %s', (_what, text) => {
    expect(unknown(stepsOf(text))).toHaveLength(1);
  });
});
