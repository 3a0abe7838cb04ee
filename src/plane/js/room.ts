import type { Socket } from 'node:net';

/** Room for the descriptors of connections that listeners have brought, until their sockets are closed. */
export class Room {
  private taken = 0;

  /** Takes room for one more, unless there are `most` already. */
  take(socket: Socket, most: number): boolean {
    if (this.taken >= most) return false;
    this.taken += 1;
    socket.once('close', () => {
      this.taken -= 1;
    });
    return true;
  }
}
