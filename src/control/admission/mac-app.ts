/** Where Tailscale's app for macOS answers: a port of TCP, with a token that files of the app give to users of this machine. */
import { execFile } from 'node:child_process';
import { readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** Where the app is asked, on 127.0.0.1. */
export interface AppPort {
  readonly port: number;
  readonly token: string;
}

export interface MacAppOptions {
  /** Where the app that is not from the App Store keeps its files. */
  readonly directory?: string;
  /** What `lsof` prints, which is how the app from the App Store is found. */
  readonly openFiles?: () => Promise<string>;
}

const DIRECTORY = '/Library/Tailscale';
/** A machine without the app is not searched for it at every login, in milliseconds. */
const LOOK_AGAIN = 5000;
const LSOF_TIMEOUT = 5000;

export class MacApp {
  private found: Promise<AppPort | undefined> | undefined;
  private foundAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: MacAppOptions = {}) {}

  /** The port and the token; `undefined` where the app does not run. What was found holds until {@link forget}. */
  async find(): Promise<AppPort | undefined> {
    this.found ??= this.look();
    const app = await this.found;
    if (!app && performance.now() - this.foundAt > LOOK_AGAIN) this.forget();
    return app;
  }

  /** The app does not answer there any more: the next question looks for it. */
  forget(): void {
    this.found = undefined;
  }

  /** In the order of Go's client. */
  private async look(): Promise<AppPort | undefined> {
    const { directory = DIRECTORY, openFiles = lsof } = this.options;
    const app =
      (await fromOpenFiles(openFiles).catch(() => undefined)) ??
      (await fromDirectory(directory).catch(() => undefined));
    this.foundAt = performance.now();
    return app;
  }
}

/** The app from the App Store has a file open whose name says both. */
async function fromOpenFiles(openFiles: () => Promise<string>): Promise<AppPort | undefined> {
  const text = await openFiles();
  const [, port, token] = /\.tailscale\.ipn\.macos\/sameuserproof-(\d{1,5})-(\S+)$/m.exec(text) ?? [];
  return portOf(port, token);
}

/** The other app has a link that names the port, and a file with the token, which administrators may read. */
async function fromDirectory(directory: string): Promise<AppPort | undefined> {
  const port = await readlink(join(directory, 'ipnport'));
  if (!/^\d{1,5}$/.test(port)) return undefined;
  return portOf(port, (await readFile(join(directory, `sameuserproof-${port}`), 'utf8')).trim());
}

function portOf(port: string | undefined, token: string | undefined): AppPort | undefined {
  const number = Number(port);
  // A token is hex digits; whatever else is no part of a header.
  return number > 0 && number < 65_536 && token && /^[\x21-\x7e]+$/.test(token) ? { port: number, token } : undefined;
}

/** What `lsof` prints of the app from the App Store. */
export function lsof(timeout = LSOF_TIMEOUT): Promise<string> {
  const args = ['-n', '-a', `-u${process.getuid?.()}`, '-c', 'IPNExtension', '-F'];
  return new Promise((resolve, reject) => {
    execFile('lsof', args, { timeout, killSignal: 'SIGKILL' }, (error, stdout) => {
      if (error) reject(error);
      else resolve(stdout);
    });
  });
}
