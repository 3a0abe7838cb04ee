import type { Duplex } from 'node:stream';

/**
 * Passes everything on between two connections, and ends each with the other, however that ends: a pipe alone leaves one open
 * when the other is reset.
 */
export function join(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', () => {});
    // What it has sent is still on its way; a pipe into what is closed reads nothing any more, not even the end.
    from.on('close', () => (from.readableEnded ? to.resume() : to.destroy()));
    from.pipe(to);
  }
}
