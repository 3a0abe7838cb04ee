import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, Harness } from './harness.js';

const HEADERS = {
  'content-security-policy':
    "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; block-all-mixed-content; " +
    "object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'x-frame-options': 'DENY',
  'cache-control': 'no-cache',
};

let main: Harness;

beforeEach(async () => {
  main = await Harness.open();
});

afterEach(() => main.close());

async function ask(path: string): Promise<Answer> {
  const { body, ...answer } = await main.ask(`GET /debug/${path} HTTP/1.1`);
  return { ...answer, body: Buffer.from(body, 'latin1').toString() };
}

const textOf = (path: string) => readFileSync(createRequire(import.meta.url).resolve(path), 'utf8');

describe('/debug/live', () => {
  it.each([
    ['', ''],
    ['?debugkey=', ''],
    ["?debugkey=it's%20%22one%22", '?debugkey=it&#39;s%20%22one%22'],
  ])('the page asks for its files with the debug key of the query %j', async (query, shown) => {
    const { status, headers, body } = await ask(`live${query}`);
    expect(status).toBe(200);
    expect(headers).toMatchObject({ ...HEADERS, 'content-type': 'text/html; charset=utf-8' });
    expect(body).toContain(`<script src="/debug/live/live.js${shown}" defer></script>`);
    expect(body).toBe(textOf('../../../src/http/live/live.html').replaceAll('{{query}}', shown));
  });

  it.each([
    ['live.css', 'text/css; charset=utf-8', '../../../src/http/live/live.css'],
    ['live.js', 'text/javascript; charset=utf-8', '../../../src/http/live/live.js'],
    ['uPlot.min.css', 'text/css; charset=utf-8', 'uplot/dist/uPlot.min.css'],
    ['uPlot.iife.min.js', 'text/javascript; charset=utf-8', 'uplot/dist/uPlot.iife.min.js'],
  ])('the page has %s beside it, as %s', async (name, type, path) => {
    // The second answer is from memory.
    for (let time = 0; time < 2; time++) {
      const { status, headers, body } = await ask(`live/${name}`);
      expect(status).toBe(200);
      expect(headers).toMatchObject({ ...HEADERS, 'content-type': type });
      expect(body).toBe(textOf(path));
    }
  });

  it.each(['', 'live.html', 'other.js', '%2E%2E/live-assets.ts'])('the page has no file %j beside it', async (name) => {
    expect((await ask(`live/${name}`)).status).toBe(404);
  });
});
