import type { Socket } from 'node:net';

/** Counts the descriptors of accepted connections until their sockets are closed. */
export class Room {
  private taken = 0;

  /** Counts one more connection, unless there are `most` already. */
  take(socket: Socket, most: number): boolean {
    if (this.taken >= most) return false;
    this.taken += 1;
    socket.once('close', () => {
      this.taken -= 1;
    });
    return true;
  }
}
