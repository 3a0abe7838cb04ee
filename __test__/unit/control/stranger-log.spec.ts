import { describe, expect, it } from 'vitest';
import { type StrangerFigures, StrangerLog } from '../../../src/control/stranger-log.js';

const figures = (evicted: number, refused: number): StrangerFigures => ({
  evicted: { address: 0, pool: evicted },
  refused: { address: refused, pool: 0 },
});

describe('the log of strangers', () => {
  it('has one line a minute, of what has come since the last', () => {
    let now = figures(0, 0);
    const said: StrangerFigures[] = [];
    const log = new StrangerLog(
      () => now,
      (news) => said.push(news),
    );
    log.look(1000);
    expect(said).toEqual([]);
    now = figures(3, 1);
    log.look(6000);
    now = figures(10, 2);
    log.look(11_000);
    log.look(65_999);
    expect(said).toEqual([figures(3, 1)]);
    log.look(66_000);
    log.look(200_000);
    expect(said).toEqual([figures(3, 1), figures(7, 1)]);
  });
});
