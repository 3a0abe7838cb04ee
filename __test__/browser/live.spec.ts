/** Chromium on `/debug/live`: the page shows what the relay counts. */
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeFrame } from '../../src/protocol/frame.js';
import { formatNodeKey, generateKeyPair } from '../../src/protocol/key.js';
import { FrameType } from '../../src/protocol/wire.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { type Browser, openBrowser } from './chromium.js';

let browser: Browser;
let context: BrowserContext;

beforeAll(async () => {
  browser = await openBrowser();
  context = browser.context;
});

afterAll(() => browser?.[Symbol.asyncDispose]());

/** The page, and the errors and warnings of the browser. */
async function open(relay: TestRelay): Promise<{ page: Page; complaints: string[] }> {
  const { host, port, tls } = relay.target();
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(`${tls ? 'https' : 'http'}://${host}:${port}/debug/live`);
  await page.getByText('live', { exact: true }).waitFor();
  return { page, complaints };
}

async function fact(page: Page, name: string): Promise<string | null> {
  return page.locator(`#now [data-name="${name}"] dd`).textContent();
}

async function pointsOf(page: Page, plot: string): Promise<number> {
  return Number(await page.locator(`#plot-${plot}`).getAttribute('data-points'));
}

describe.each(LANES_AND_TLS)('the live page, $name', (lane) => {
  it('the page shows the counters, moves its plots, and leads to single clients', async () => {
    const relay = await startRelay(lane);
    const [a, b] = [await DerpClient.connect(relay, { appName: '<i>app' }), await DerpClient.connect(relay)];
    const { page, complaints } = await open(relay);
    for (let count = 0; count < 40; count++) a.sendPacket(b.key, Buffer.alloc(1000));
    for (let count = 0; count < 3; count++) a.sendPacket(generateKeyPair().publicKey, Buffer.alloc(10));
    await a.fence();
    const stranger = await DerpClient.dial(relay);
    stranger.wire.write(stranger.head, encodeFrame(FrameType.KeepAlive, Buffer.alloc(0)));
    await stranger.wire.ended();
    await relay.untilCount('packets_sent', 40);
    await eventually(async () => (await fact(page, 'packets in, all')) === '43', 'the packets to be shown');
    expect(await fact(page, 'packets out, all')).toBe('40');
    expect(await fact(page, 'clients')).toBe('2');
    expect(await fact(page, 'node keys')).toBe('2');
    expect(await fact(page, 'dropped, all')).toBe('3');
    await page.locator('#plots canvas').nth(8).waitFor();
    const before = await pointsOf(page, 'packets');
    await eventually(async () => (await pointsOf(page, 'packets')) > before, 'the plot to move');
    expect(await page.locator('#plot-drops').getAttribute('aria-label')).toMatch(/unknown_dest/);
    expect(await page.locator('#plot-failures').getAttribute('aria-label')).toMatch(/login no_client_info/);

    // The table follows what clients do, sorts by the column that is clicked, and takes no name for HTML.
    await eventually(async () => {
      a.sendPacket(b.key, Buffer.alloc(1000));
      return (await page.locator('#busiest tbody tr').count()) === 2;
    }, 'both clients to be listed');
    const app = page.locator(`tr[data-key="${formatNodeKey(a.key)}"] td`).nth(1);
    expect(await app.textContent()).toBe('<i>app');
    await page.getByRole('button', { name: 'Bytes to it' }).click();
    expect(await page.locator('#busiest th').nth(6).getAttribute('aria-sort')).toBe('descending');

    // A click leads to the client, and Escape back.
    await page.locator(`tr[data-key="${formatNodeKey(b.key)}"] button`).click();
    await page.getByText(formatNodeKey(b.key), { exact: true }).waitFor();
    await page.locator('#client-facts').getByText('127.0.0.1').waitFor();
    await page.keyboard.press('Escape');
    expect(await page.locator('#client').isHidden()).toBe(true);

    await relay.relay.close();
    await page.getByText('no connection to the relay').waitFor();
    expect(complaints.filter((text) => !/ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|net::/.test(text))).toEqual([]);
    await page.close();
  });
});
