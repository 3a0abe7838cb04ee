/** Finds the browser of the browser suite. */
import { spawnSync } from 'node:child_process';

/** The command of the browser; undefined if none is installed. */
export function chromium() {
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  return [process.env.CHROMIUM, ...names].find((name) => name && spawnSync(name, ['--version']).status === 0);
}
