import { createRequire } from 'node:module';

/** The package's version. Both `src/` and `dist/` lie beside `package.json`. */
export const VERSION: string = createRequire(import.meta.url)('../package.json').version;
