import { expect, it } from 'vitest';
import { ownBytes } from '../../../src/plane/js/own-bytes.js';

it('bytes that are more than half of their memory stay where they are', () => {
  const memory = Buffer.allocUnsafeSlow(100).fill('x');
  const bytes = memory.subarray(10, 61);
  expect(ownBytes(bytes)).toBe(bytes);
});

it('bytes that are half of their memory or less get memory of their own', () => {
  const memory = Buffer.allocUnsafeSlow(100).fill('x');
  const own = ownBytes(memory.subarray(10, 60));
  memory.fill('y');
  expect(own.toString()).toBe('x'.repeat(50));
  expect(own.buffer.byteLength).toBe(50);
});
