import { describe, expect, it } from 'vitest';
import { Bystanders } from '../helpers/bystanders.js';
import { DerpClient } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay } from '../helpers/relay.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

const REQUEST = 'GET /generate_204 HTTP/1.1\r\nHost: derp.test\r\n\r\n';

describe.each(LANES)('requests of one connection, $name', (lane) => {
  it.each([false, true])('requests are answered in order, any number on one connection; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls });
    const wire = await Wire.open(relay.target());
    for (let count = 0; count < 300; count++) {
      wire.write(REQUEST);
      expect((await wire.takeThrough('\r\n\r\n')).toString()).toMatch(/^HTTP\/1\.1 204 /);
    }
  });

  it.each([false, true])('requests may be sent ahead of answers; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls });
    const wire = await Wire.open(relay.target());
    const challenges = Array.from({ length: 32 }, (_, index) => `x${index}`);
    const header = 'X-Tailscale-Challenge';
    wire.write(...challenges.map((text) => REQUEST.replace('\r\n\r\n', `\r\n${header}: ${text}\r\n\r\n`)));
    for (const text of challenges) {
      expect((await wire.takeThrough('\r\n\r\n')).toString()).toContain(`X-Tailscale-Response: response ${text}\r\n`);
    }
  });

  it.each([false, true])('what follows the last request of a connection is not read; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls });
    // This answer takes a while.
    const last = 'GET /debug/check HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n';
    const wire = await Wire.open(relay.target());
    wire.write(last, 'nonsense', last);
    const answers = String(await wire.rest());
    expect(answers.match(/HTTP\/1\.1 .+/g)).toEqual(['HTTP/1.1 200 OK']);
  });

  it.each([
    ['in one write', false, false],
    ['in one write', false, true],
    ['byte by byte behind the upgrade', true, false],
    ['byte by byte behind the upgrade', true, true],
  ])('a login may follow requests, %s; TLS %s %s', async (_, slowly, tls) => {
    const relay = await startRelay(lane, { tls });
    const other = await DerpClient.connect(relay);
    const client = await DerpClient.dial(relay);
    const { wire, head, clientInfo } = client;
    // More than Node's buffers take at once, so that it stops reading in between.
    const page = 'GET / HTTP/1.1\r\nHost: derp.test\r\n\r\n';
    wire.write(page.repeat(20) + REQUEST + head, ...(slowly ? [] : [clientInfo]));
    if (slowly) for (const byte of clientInfo) wire.write(Buffer.of(byte));
    for (let answer = ''; !answer.includes('HTTP/1.1 204 '); )
      answer = (await wire.takeThrough('\r\n\r\n')).toString('latin1');
    client.readFrames();
    expect((await client.expect('ServerKey')).key).toBe(relay.keys.publicKey);
    await client.expect('ServerInfo');
    client.sendPacket(other.key, 'behind it all');
    expect(await other.expectPacket('behind it all')).toBe(client.key);
  });

  it('thousands of requests from a client that reads no answer end its connection, and affect no other', async () => {
    const relay = await startRelay(lane);
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      for (let round = 0; round < 5; round++) {
        const wire = await Wire.open(relay.target());
        wire.stopReading();
        wire.write(REQUEST.repeat(5000));
        wire.goOnReading();
        const answers = (await wire.rest()).toString('latin1').split('HTTP/1.1 204 ').length - 1;
        expect(answers).toBeLessThan(5000);
        await wire.destroy();
      }
    });
  });
});
