/** A secret that requests have to show, from a file. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';

export class TokenFile {
  private hash: Buffer | undefined;

  constructor(readonly path: string) {}

  /** Reads the file, the first time or again. If it cannot be used, rejects and keeps the last token. */
  async load(): Promise<void> {
    const token = (await readFile(this.path, 'utf8')).trim();
    if (token === '') throw new Error('the file is empty');
    // RFC 6750, section 2.1: no other text can stand in the header.
    if (!/^[A-Za-z0-9\-._~+/]+=*$/.test(token)) {
      throw new Error('the file is not one token of letters, digits and -._~+/=');
    }
    this.hash = hashOf(token);
  }

  /** Whether an Authorization header shows the token. Takes as long for any other text. */
  isShownBy(header: string | undefined): boolean {
    const [, token] = /^Bearer +(\S+) *$/i.exec(header ?? '') ?? [];
    return token !== undefined && this.hash !== undefined && timingSafeEqual(this.hash, hashOf(token));
  }
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
