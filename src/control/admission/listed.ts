import type { KeyFile } from './key-file.js';
import { ALLOWED, type Answer, denied, type Question, type Verifier } from './verifier.js';

/** A verifier that admits the keys of a file. */
export class Listed implements Verifier {
  readonly name: string;
  readonly bySource = false;
  readonly local = true;

  constructor(readonly file: KeyFile) {
    this.name = `keys ${file.path}`;
  }

  async ask({ key }: Question): Promise<Answer> {
    return this.file.keys.has(key) ? ALLOWED : denied('not in the list');
  }

  close(): void {}
}
