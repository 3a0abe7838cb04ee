/** Where the browser of the browser suite is. */
import { spawnSync } from 'node:child_process';

/** Its command; undefined if there is none. */
export function chromium() {
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  return [process.env.CHROMIUM, ...names].find((name) => name && spawnSync(name, ['--version']).status === 0);
}
