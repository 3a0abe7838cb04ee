import { expect, it } from 'vitest';
import { escaped, printable } from '../../../src/cli/terminal-text.js';

it('JSON for a terminal keeps its meaning and loses characters that a terminal obeys', () => {
  const json = JSON.stringify({ text: 'é\u009b2J\u007f\u202eabc' });
  expect(escaped(json)).toBe('{"text":"é\\u009b2J\\u007f\\u202eabc"}');
  expect(JSON.parse(escaped(json))).toEqual(JSON.parse(json));
});

it('text for a terminal has no control characters', () => {
  expect(printable('a\u001b[2J\u009bé')).toBe('a?[2J??');
});
