import { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { Room } from '../../../src/plane/js/room.js';

it('a room has as many places as the bound says, and a socket gives its place back once it is closed', () => {
  const room = new Room();
  const [first, second] = [new Socket(), new Socket()];
  expect([room.take(first, 2), room.take(second, 2), room.take(new Socket(), 2)]).toEqual([true, true, false]);
  first.emit('close');
  first.emit('close');
  expect([room.take(new Socket(), 2), room.take(new Socket(), 2)]).toEqual([true, false]);
  // The bound may change.
  expect([room.take(new Socket(), 3), room.take(new Socket(), 3)]).toEqual([true, false]);
});
