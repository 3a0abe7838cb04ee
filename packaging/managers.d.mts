/** Absolute paths: scripts for Node, and the program `bun`. */
export interface Managers {
  readonly verdaccio: string;
  readonly pnpm: string;
  readonly yarn: string;
  readonly bun: string;
}

export function packageManagers(): Managers;
