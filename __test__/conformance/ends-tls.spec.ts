import { describe, expect, it } from 'vitest';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft, openSockets } from '../helpers/leaks.js';
import { startRelay } from '../helpers/relay.js';
import { BAD_RECORD, SealedClient } from '../helpers/sealed.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

const REQUEST = 'GET /generate_204 HTTP/1.1\r\nHost: relay\r\n\r\n';

describe.each(LANES_AND_TLS)('the end of a TLS connection, $name', (lane) => {
  describe.each([
    ['in one write with a request', REQUEST],
    ['in one write with a part of a request', REQUEST.slice(0, 20)],
    ['before any request', ''],
  ])('%s', (_, text) => {
    const start = async () => {
      const relay = await startRelay(lane, { tls: true });
      const before = openSockets();
      const client = await SealedClient.open(relay.target());
      const request = text === '' ? Buffer.alloc(0) : await client.record((tls) => tls.write(text));
      const over = async () => {
        const answer = await client.ended();
        // Its own socket is left: nothing is closed there.
        await eventually(() => openSockets() === before + 1, 'all that the relay had of it to be closed');
        return answer;
      };
      return { client, request, over };
    };

    it('a close_notify ends the connection', async () => {
      const { client, request, over } = await start();
      const close = await client.record((tls) => tls.end());
      client.send(request, close);
      const answer = await over();
      if (text === REQUEST) expect(answer).toMatch(/^HTTP\/1\.1 204 /);
      else expect(answer).not.toMatch(/^HTTP\/1\.1 2/);
    });

    it('a fatal alert ends the connection', async () => {
      const { client, request, over } = await start();
      client.send(request, await client.fatalAlert());
      await over();
    });

    it('a record that does not open ends the connection, and the client is told', async () => {
      const { client, request, over } = await start();
      client.send(request, BAD_RECORD);
      // Node says nothing of it behind an answer.
      if (lane.planeKind === 'native' || text !== REQUEST)
        expect(await client.failed()).toMatchObject({ code: 'ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC' });
      await over();
    });
  });
});
