/** Chromium on the example page: what a browser makes of DERP over WebSocket, and what the relay makes of a browser. */
import type { Server } from 'node:http';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeKeyHex } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { type Browser, load, openBrowser } from './chromium.js';

let browser: Browser;
let context: BrowserContext;
let pages: Server;

beforeAll(async () => {
  browser = await openBrowser();
  context = browser.context;
  const { serve } = (await load('../../examples/browser/serve.mjs')) as { serve: (port: number) => Promise<Server> };
  pages = await serve(0);
});

afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  pages?.closeAllConnections();
  pages?.close();
});

describe.each(LANES_AND_TLS)('in a browser, $name', (lane) => {
  it('two tabs talk through the relay, and one is told when the other closes', async () => {
    const relay = await startRelay(lane);
    const [a, b] = [await tab(relay), await tab(relay)];
    for (const text of ['hello', 'grüße', 'x'.repeat(20_000)]) {
      await send(a, b.key, text);
      await b.page.getByText(`${a.key.slice(0, 8)}: ${text}`, { exact: true }).waitFor();
      await send(b, a.key, `${text} too`);
      await a.page.getByText(`${b.key.slice(0, 8)}: ${text} too`, { exact: true }).waitFor();
    }
    expect(relay.relay.figures().connections).toBe(2);
    await b.page.close();
    await a.page.getByText(`${b.key.slice(0, 8)} has left`).waitFor();
    expect(relay.drops()).toEqual({});
    await a.page.close();
  });

  it('a tab and a raw client get each other’s packets, up to the longest', async () => {
    const relay = await startRelay(lane);
    const { page, key } = await tab(relay);
    const client = await DerpClient.connect(relay);
    const longest = 'y'.repeat(64 << 10);
    await send({ page }, nodeKeyHex(client.key), longest);
    const source = await client.expectPacket(longest);
    expect(nodeKeyHex(source)).toBe(key);
    client.sendPacket(source, longest);
    await page.getByText(`${nodeKeyHex(client.key).slice(0, 8)}: ${longest}`, { exact: true }).waitFor();
    await page.close();
  });

  it('a tab notices that the relay ends', async () => {
    const relay = await startRelay(lane);
    const { page } = await tab(relay);
    await relay.relay.close();
    await page.getByText(/^closed/).waitFor();
    await page.close();
  });
});

/** A tab that has logged in. */
async function tab(relay: TestRelay): Promise<{ page: Page; key: string }> {
  const { host, port, tls } = relay.target();
  const page = await context.newPage();
  const at = pages.address() as { port: number };
  await page.goto(`http://127.0.0.1:${at.port}/?relay=${tls ? 'wss' : 'ws'}://${host}:${port}/derp`);
  await page.getByText(/^connected to/).waitFor();
  const key = (await page.locator('#key').textContent()) ?? '';
  expect(key).toMatch(/^[0-9a-f]{64}$/);
  return { page, key };
}

async function send({ page }: { page: Page }, peer: string, text: string): Promise<void> {
  await page.locator('#peer').fill(peer);
  await page.locator('#text').fill(text);
  await page.getByRole('button').click();
}
