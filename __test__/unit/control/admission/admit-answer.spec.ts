/** The answers of admission controllers as Go's decoder reads them. */
import { expect, it } from 'vitest';
import { firstObject, readAllow } from '../../../../src/control/admission/admit-answer.js';

it.each<[string, boolean | undefined]>([
  ['{"Allow":true}', true],
  ['{"Allow":false}', false],
  ['{}', false],
  ['{"Allow":null}', false],
  ['{"Allow":true,"aLLOW":null}', true],
  ['{"Allow":false,"allow":true}', true],
  ['{"Allowed":true,"Disallow":true}', false],
  ['{"a":[{"b":[]},{"c":{}}],"d":"}]\\"}","Allow":true}', true],
  ['{"a":{"Allow":true}}', false],
  [' \t\r\n{"Allow":true} and more', true],
  ['{"Allow":true}{"Allow":false}', true],
  ['null', false],
  [' \t\r\n null,', false],
  ['nullx', undefined],
  ['xnull', undefined],
  ['[null]', undefined],
  ['nul', undefined],
  ['[{"Allow":true}]', undefined],
  ['x{"Allow":true}', undefined],
  ['{"Allow":"true"}', undefined],
  ['{"Allow":1,"Allow":true}', undefined],
  ['{"Allow":true,}', undefined],
  ['{"Allow":true', undefined],
  ['{"Allow":true,"a":"}', undefined],
  ['true', undefined],
  ['', undefined],
])('the answer %j says whether a client is allowed: %s', (body, allow) => {
  expect(readAllow(body)).toBe(allow);
});

it('the first object of a text is all of it up to its brace, and nothing before', () => {
  expect(firstObject(' {"a":[{}],"b":"}"} {}')).toBe('{"a":[{}],"b":"}"}');
  expect(firstObject('[{}]')).toBeUndefined();
});
