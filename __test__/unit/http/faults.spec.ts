/** Handlers of the HTTP server that throw: each costs its connection alone, and the fault says which handler it was. */
import { afterEach, describe, expect, it } from 'vitest';
import { Barrier } from '../../../src/faults/barrier.js';
import type { Face } from '../../../src/http/server.js';
import { turn } from '../../helpers/wait.js';
import { Harness, NOTHING_TO_SHOW } from './harness.js';
import { Visit } from './visit.js';

const HOST = 'Host: derp.test';
const PENDING = `GET /debug/check HTTP/1.1|${HOST}||`;

let main: Harness;

afterEach(() => main.close());

function fail(): never {
  throw new Error('broken');
}

/** A relay of which nearly everything that a request can reach is broken. */
async function visit(face: Face): Promise<{ readonly made: Visit; readonly faults: string[] }> {
  const faults: string[] = [];
  const barrier = new Barrier((what, error) => faults.push(`${what}: ${(error as Error).message}`));
  const live = { join: (response: NodeJS.EventEmitter) => response.once('close', fail) } as never;
  main = await Harness.open(face, {
    barrier,
    onFailure: fail,
    adopt: fail,
    bootstrapDns: fail,
    challengeAnswer: async () => fail(),
    debug: { ...NOTHING_TO_SHOW, varz: fail, check: () => new Promise(() => {}), live },
  });
  return { made: new Visit(main.http, { face }), faults };
}

describe('handlers that throw', () => {
  it.each<[what: string, lines: string, face?: Face]>([
    ['http: request', `GET /bootstrap-dns HTTP/1.1|${HOST}`],
    ['http: checkContinue', `GET /bootstrap-dns HTTP/1.1|${HOST}|Expect: 100-continue`],
    ['http: checkExpectation', `${PENDING.repeat(32)}GET / HTTP/1.1|${HOST}|Expect: a wonder`],
    ['http: upgrade', `GET /derp HTTP/1.1|${HOST}|Connection: Upgrade|Upgrade: DERP`],
    ['http: clientError', 'nonsense'],
    ['http: the end of an answer', `POST / HTTP/1.1|${HOST}`, 'redirect'],
    ['http: a debug page', `GET /debug/varz HTTP/1.1|${HOST}`],
    ['http: a challenge', `GET /.well-known/acme-challenge/token HTTP/1.1|${HOST}`, 'redirect'],
  ])('a handler that throws is reported as %j, and its connection is closed', async (what, lines, face = 'main') => {
    const { made, faults } = await visit(face);
    await made.ask(lines);
    expect(faults).toEqual([`${what}: broken`]);
    expect(made.stream.destroyed).toBe(true);
    // The server goes on for other connections.
    const next = await new Visit(main.http, { face }).ask(`GET /generate_204 HTTP/1.1|${HOST}`);
    expect(next.text).toMatch(/^HTTP\/1\.1 204 /);
    expect(faults).toHaveLength(1);
  });

  it('a page that throws when its connection ends is reported', async () => {
    const { made, faults } = await visit('main');
    await made.ask(`${PENDING}GET /debug/live/events HTTP/1.1|${HOST}`);
    expect(faults).toEqual([]);
    made.stream.destroy();
    await turn();
    expect(faults).toEqual(['http: the end of a connection: broken']);
  });
});
