import { describe, expect, it } from 'vitest';
import { SETTINGS } from '../../src/config.js';
import { read } from './project.js';

/** The comments of the fields of `RelayConfig`, by the names of the settings. */
function commentsOf(text: string): Map<string, string> {
  const interfaces = new Map(
    [...text.matchAll(/^export interface (\w+) \{\n([\s\S]*?)^\}/gm)].map(([, name = '', body = '']) => [name, body]),
  );
  const fields = (name: string, before: string): [string, string][] =>
    [
      ...(interfaces.get(name) ?? '').matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n {2}readonly (\w+)\??: (.*);/g),
    ].flatMap(([, comment = '', field = '', type = '']) => {
      const [, group = ''] = /^(\w+Config)(?: \| undefined)?$/.exec(type) ?? [];
      return interfaces.has(group) ? fields(group, `${before}${field}.`) : [[before + field, comment]];
    });
  return new Map(fields('RelayConfig', ''));
}

/** What a comment may call a default that help writes this way. */
function spellings(fallback: string): string[] {
  if (fallback === '') return ['none', 'empty', 'every client', 'no limit', 'Default: '];
  if (Number(fallback) === Number.MAX_SAFE_INTEGER) return ['no limit'];
  const inWords = fallback.replace(/^(\d+)m$/, '$1 minutes').replace(/^(\d+)(s|MiB)$/, '$1 $2');
  return [
    fallback,
    `\`${fallback}\``,
    inWords,
    /^\d+$/.test(fallback) ? Number(fallback).toLocaleString('en') : fallback,
  ];
}

/** The first sentence about the default; empty if there is none. */
function defaultIn(comment: string): string {
  return /\bDefault:? [\s\S]*/.exec(comment)?.[0] ?? '';
}

describe('the comments of RelayConfig', () => {
  const comments = commentsOf(read('src/config/relay-config.ts') + read('src/config/mesh-config.ts'));

  it.each(SETTINGS.filter(({ name }) => name !== 'dataDir'))(
    'the comment of $name says the default',
    ({ name, fallback }) => {
      const said = defaultIn(comments.get(name) ?? '');
      expect(spellings(fallback).filter((spelling) => said.includes(spelling))).not.toEqual([]);
    },
  );

  it('the test finds comments in groups, and a wrong default', () => {
    expect(comments.get('admission.cache.grace')).toContain('15 minutes');
    expect(spellings('10m').some((spelling) => defaultIn('Default 15 minutes.').includes(spelling))).toBe(false);
    expect(spellings('1000000')).toContain('1,000,000');
    expect(defaultIn('Ten minutes.')).toBe('');
  });
});
