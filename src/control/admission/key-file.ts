/** A watched file of node keys; a change replaces the whole list. */
import type { BigIntStats } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { reasonOf } from '../../errors.js';
import type { NodeKey } from '../../protocol/key.js';
import { counted } from '../../words/counted.js';
import { MOST_LIST_BYTES, parseKeyList } from './key-list.js';

/**
 * Milliseconds between looks at the file. Polling works on every file system, through bind mounts and links;
 * notification does not. A changed file is read once it has been stable for one look, so that no half-written list is
 * read.
 */
const LOOK_AGAIN = 250;
/** Milliseconds between two log lines about a faulty file. */
const SAY_AGAIN = 60_000;

export interface KeyFileEvents {
  /** The list has changed. */
  changed(before: ReadonlySet<NodeKey>, after: ReadonlySet<NodeKey>): void;
  /** The file cannot be read, or is malformed; the last list stays. */
  trouble(message: string): void;
}

export class KeyFile {
  keys: ReadonlySet<NodeKey> = new Set();
  /** What is wrong with the file now; empty if nothing is. */
  trouble = '';
  private events: KeyFileEvents | undefined;
  private seen = '';
  private pending = '';
  private saidAt = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(readonly path: string) {}

  /** Reads the file for the first time. Rejects if it is missing or malformed. */
  async load(): Promise<void> {
    this.seen = await stampOf(this.path);
    this.keys = await readKeys(this.path);
  }

  /** Its state, in words. */
  get state(): string {
    return `${counted(this.keys.size, 'key')}${this.trouble && `, the last ones that could be read; ${this.trouble}`}`;
  }

  watch(events: KeyFileEvents): void {
    this.events = events;
    const again = () => {
      if (this.closed) return;
      this.timer = setTimeout(() => void this.look().finally(again), LOOK_AGAIN).unref();
    };
    again();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  /** Reads the file now. If it is missing or malformed, rejects and keeps the last list. */
  async reload(): Promise<void> {
    this.take(await stampOf(this.path), await readKeys(this.path));
  }

  private async look(): Promise<void> {
    try {
      const stamp = await stampOf(this.path);
      const settled = stamp === this.pending;
      this.pending = stamp;
      if (stamp === this.seen) this.trouble = '';
      else if (settled) this.take(stamp, await readKeys(this.path));
    } catch (error) {
      this.trouble = `${this.path}: ${reasonOf(error)}`;
      const now = performance.now();
      if (this.closed || now - this.saidAt < SAY_AGAIN) return;
      this.saidAt = now;
      this.events?.trouble(reasonOf(error));
    }
  }

  private take(stamp: string, keys: ReadonlySet<NodeKey>): void {
    if (this.closed) return;
    const before = this.keys;
    this.keys = keys;
    this.seen = stamp;
    this.trouble = '';
    if (!isSame(before, keys)) this.events?.changed(before, keys);
  }
}

function isSame(one: ReadonlySet<NodeKey>, other: ReadonlySet<NodeKey>): boolean {
  return one.size === other.size && [...one].every((key) => other.has(key));
}

/** Tells one state of a file from another, also where it was replaced by one of the same size within the same second. */
async function stampOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs }: BigIntStats = await stat(path, { bigint: true });
  return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
}

async function readKeys(path: string): Promise<Set<NodeKey>> {
  // Reading a pipe or a device might never end.
  if (!(await stat(path)).isFile()) throw new Error('it is not a regular file');
  const file = await open(path);
  try {
    const { size } = await file.stat();
    if (size > MOST_LIST_BYTES) throw new Error(`the file has more than ${MOST_LIST_BYTES >> 20} MiB`);
    return parseKeyList(await readFile(file, 'utf8'));
  } finally {
    await file.close();
  }
}
