/** An egress at the edge of its window, and with a stream that throws. */
import type { Duplex } from 'node:stream';
import { expect, it } from 'vitest';
import { Egress } from '../../../src/plane/js/egress.js';
import { contextWith, GatedStream, settled } from './context.js';
import { Owner, packet, rig, WINDOW } from './egress-rig.js';

it('a window that is full to its last byte takes no further packet', async () => {
  const { egress } = rig();
  const besidePayload = packet(0, 4).frame.length - 4;
  egress.packet(packet(0, WINDOW - besidePayload));
  await settled();
  egress.packet(packet(1));
  expect(egress.queuedPackets).toBe(1);
});

it('a write that throws is told as a fault, and ends the connection', async () => {
  const { context, log } = contextWith();
  const [stream, owner] = [new GatedStream(), new Owner()];
  stream.write = () => {
    throw new Error('broken');
  };
  new Egress(stream as unknown as Duplex, context, owner).packet(packet(0));
  await settled();
  expect(owner.calls).toEqual(['failed']);
  expect(log).toEqual([expect.stringContaining('fault ERR_INTERNAL a write: Error: broken')]);
});
