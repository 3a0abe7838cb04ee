import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium } from 'playwright-core';

/** The browser asks nothing of anybody but the relay and the page's server. */
const FLAGS = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
  // The relays' certificates are their own.
  '--ignore-certificate-errors',
];

export interface Browser extends AsyncDisposable {
  readonly context: BrowserContext;
}

/** A Chromium with a profile of its own. Throws where there is none. */
export async function openBrowser(): Promise<Browser> {
  const { chromium: command } = (await load('../../packaging/chromium.mjs')) as { chromium: () => string | undefined };
  const name = command();
  if (name === undefined) throw new Error('there is no Chromium here; $CHROMIUM may name one');
  const executablePath = spawnSync('sh', ['-c', 'command -v "$0"', name], { encoding: 'utf8' }).stdout.trim();
  const profile = mkdtempSync(join(tmpdir(), 'derpkit-browser-'));
  const context = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS });
  return {
    context,
    async [Symbol.asyncDispose]() {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

/** Loads a module that TypeScript has no declarations of. */
export function load(path: string): Promise<unknown> {
  return import(new URL(path, import.meta.url).href);
}
