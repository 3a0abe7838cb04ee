/** A secret that requests have to show, from a file. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { constants, open } from 'node:fs/promises';

/** Bytes of a file: a header has 16 KiB. */
const LONGEST = 4096;

export class TokenFile {
  private hash: Buffer | undefined;

  constructor(readonly path: string) {}

  /** Reads the file, the first time or again. If it cannot be used, rejects and keeps the last token. */
  async load(): Promise<void> {
    const token = (await contentsOf(this.path)).trim();
    if (token === '') throw new Error('the file is empty');
    // RFC 6750, section 2.1: no other text can stand in the header.
    if (!/^[A-Za-z0-9\-._~+/]+=*$/.test(token)) {
      throw new Error('the file is not one token of letters, digits and -._~+/=');
    }
    this.hash = hashOf(token);
  }

  /** Whether an Authorization header shows the token. Takes as long for any other text. */
  isShownBy(header: string | undefined): boolean {
    const token = header?.match(/^Bearer +(\S+) *$/i)?.[1];
    return token !== undefined && this.hash !== undefined && timingSafeEqual(this.hash, hashOf(token));
  }
}

/** Rejects for anything that might never end: a device, a pipe, a file of another kind. */
async function contentsOf(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) throw new Error('it is not a regular file');
    const { bytesRead, buffer } = await file.read(Buffer.alloc(LONGEST + 1), 0, LONGEST + 1, 0);
    if (bytesRead > LONGEST) throw new Error(`the file has more than ${LONGEST} bytes`);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
