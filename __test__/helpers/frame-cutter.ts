import { HEADER_LENGTH } from '../../src/protocol/wire.js';

/** Cuts a stream into frames for test clients, independently of the relay's decoder. */
export class FrameCutter {
  private partial: Buffer = Buffer.alloc(0);

  constructor(private readonly onFrame: (type: number, body: Buffer) => void) {}

  push(bytes: Buffer): void {
    const all = this.partial.length === 0 ? bytes : Buffer.concat([this.partial, bytes]);
    let at = 0;
    while (all.length - at >= HEADER_LENGTH) {
      const end = at + HEADER_LENGTH + all.readUInt32BE(at + 1);
      if (end > all.length) break;
      this.onFrame(all[at] as number, all.subarray(at + HEADER_LENGTH, end));
      at = end;
    }
    this.partial = all.subarray(at);
  }
}
