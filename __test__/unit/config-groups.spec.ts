import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { group, parseShape, settingsOf } from '../../src/config/groups.js';
import { bool, duration, objects, whole } from '../../src/config/values.js';

const WRONG = 'must be a list of verifiers';
const count = whole(0, 9, 'must be a digit');
const shape = {
  plain: bool.default(true).describe('one'),
  outer: group({
    list: objects(z.strictObject({ url: z.string('must be a URL'), timeout: duration.prefault('5s') }), WRONG)
      .default([])
      .describe('two'),
    inner: group({ depth: count.default(3).describe('three') }),
  }),
};

function parse(given: Record<string, unknown>) {
  return parseShape(
    shape,
    given,
    settingsOf(shape).map(({ name }) => name),
  );
}

describe('a shape of groups', () => {
  it('settings in groups have names with dots', () => {
    expect(settingsOf(shape)).toEqual([
      { name: 'plain', description: 'one', fallback: 'true', kind: 'boolean' },
      { name: 'outer.list', description: 'two', fallback: '', kind: 'objects' },
      { name: 'outer.inner.depth', description: 'three', fallback: '3', kind: 'value' },
    ]);
  });

  it('an empty group has the defaults of its settings', () => {
    expect(parse({})).toEqual({ settings: { plain: true, outer: { list: [], inner: { depth: 3 } } }, problems: [] });
  });

  it('groups may contain groups', () => {
    expect(parse({ outer: { inner: { depth: '5' } } }).settings).toMatchObject({ outer: { inner: { depth: 5 } } });
  });

  it('every problem is reported with its path', () => {
    expect(parse({ outer: { inner: { depth: 10, dept: 1 }, more: 1 }, plane: 1 }).problems).toEqual([
      { path: 'outer.inner.depth', message: 'must be a digit' },
      { path: 'outer.inner.dept', message: 'there is no such setting; did you mean outer.inner.depth?' },
      { path: 'outer.more', message: 'there is no such setting' },
      { path: 'plane', message: 'there is no such setting' },
    ]);
  });
});

describe('a list of objects', () => {
  const expected = [{ url: 'u', timeout: 5000 }];

  it.each([[[{ url: 'u' }]], ['[{"url": "u"}]']])('a list of objects may be %j', (list) => {
    expect(parse({ outer: { list } }).settings).toMatchObject({ outer: { list: expected } });
  });

  it.each([['x'], ['{}'], [5], [{ url: 'u' }], ['']])('a list of objects may not be %j', (list) => {
    expect(parse({ outer: { list } }).problems).toEqual([{ path: 'outer.list', message: WRONG }]);
  });

  it('a problem in a list is reported with its index', () => {
    const { problems } = parse({ outer: { list: [{ url: 'u' }, { url: 5 }] } });
    expect(problems).toEqual([{ path: 'outer.list.1.url', message: 'must be a URL' }]);
  });
});
