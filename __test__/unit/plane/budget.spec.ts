import { describe, expect, it } from 'vitest';
import { WritableCounters } from '../../../src/plane/counters.js';
import { Budget, type BudgetRules, type Share } from '../../../src/plane/js/budget.js';
import { SEED, seeded } from '../../helpers/random.js';

const COUNTERS = { held: 'held:partial_bytes', over: 'over_budget:partial_bytes' } as const;

function budgetOf(rules: Partial<BudgetRules<string>>, counters = new WritableCounters()): Budget<string> {
  return new Budget({ free: 10, limit: () => 1e9, counters: COUNTERS, relieve: () => {}, ...rules }, counters);
}

/** Sets the amounts of holders, and takes the whole amount of a holder that must give something back. */
function rig(limit: number, rules: Partial<BudgetRules<string>> = {}) {
  const counters = new WritableCounters();
  const shares = new Map<string, Share<string> | undefined>();
  const relieved: string[] = [];
  const set = (holder: string, amount: number) => shares.set(holder, budget.set(shares.get(holder), holder, amount));
  const relieve = (holder: string) => {
    relieved.push(holder);
    set(holder, 0);
  };
  const budget: Budget<string> = budgetOf({ limit: () => limit, relieve, ...rules }, counters);
  const give = (holder: string, amount: number) => {
    set(holder, amount);
    budget.relieve();
  };
  return { give, relieved, held: () => counters.read(COUNTERS.held), over: () => counters.read(COUNTERS.over) };
}

describe('budgets', () => {
  it('a budget takes nothing from holders that are within it together', () => {
    const { give, relieved, held } = rig(100);
    give('a', 60);
    give('b', 40);
    give('a', 50);
    expect(relieved).toEqual([]);
    expect(held()).toBe(90);
  });

  it('a budget takes from the largest holder, one after another, and counts how often', () => {
    const { give, relieved, held, over } = rig(300);
    give('small', 20);
    give('large', 150);
    give('larger', 100);
    give('one more', 120);
    expect(relieved).toEqual(['large']);
    give('small', 400);
    expect(relieved).toEqual(['large', 'small']);
    expect([held(), over()]).toEqual([220, 2]);
  });

  it('a budget takes from as many holders as it has to at a time', () => {
    let limit = 300;
    const { give, relieved, held } = rig(0, { limit: () => limit });
    for (const [holder, amount] of [
      ['small', 20],
      ['large', 100],
      ['larger', 150],
    ] as const)
      give(holder, amount);
    limit = 40;
    give('small', 20);
    expect(relieved).toEqual(['larger', 'large']);
    expect(held()).toBe(20);
  });

  it('among holders of similar amounts, a budget takes from the oldest', () => {
    const { give, relieved } = rig(400);
    give('first', 100);
    give('second', 127);
    give('third', 64);
    give('first', 90);
    give('fourth', 120);
    expect(relieved).toEqual(['first']);
  });

  it('a budget treats all large amounts as similar', () => {
    const { give, relieved } = rig(2500, { alike: 512 });
    give('first', 600);
    give('second', 2000);
    expect(relieved).toEqual(['first']);
  });

  it('a budget does not count small amounts', () => {
    const { give, relieved, held } = rig(1);
    for (const name of 'abcdefghij') give(name, 10);
    expect([held(), relieved.length]).toEqual([0, 0]);
  });

  it('a budget asks a holder that gives nothing back only once', () => {
    const asked: string[] = [];
    const budget = budgetOf({ limit: () => 1, relieve: (holder) => void asked.push(holder) });
    budget.set(undefined, 'a', 100);
    budget.relieve();
    expect(asked).toEqual(['a']);
  });

  it('a budget takes from a holder with the most, whatever came before', () => {
    const random = seeded(SEED);
    let limit = Number.POSITIVE_INFINITY;
    const named: string[] = [];
    const counters = new WritableCounters();
    const budget = budgetOf({ limit: () => limit, relieve: (holder) => void named.push(holder) }, counters);
    const shares = new Map<string, Share<string> | undefined>();
    const amounts = new Map<string, number>();
    const digits = (amount: number) => (amount > 10 ? amount.toString(2).length : 0);
    for (let step = 0; step < 5000; step++) {
      const holder = `${Math.floor(random() * 30)}`;
      const amount = Math.floor(random() ** 4 * 5000);
      shares.set(holder, budget.set(shares.get(holder), holder, amount));
      const before = amounts.get(holder) ?? 0;
      // A holder that enters another class is the latest there.
      if (digits(before) !== digits(amount)) amounts.delete(holder);
      amounts.set(holder, amount);
      const counted = [...amounts].filter(([, held]) => held > 10);
      expect(counters.read(COUNTERS.held)).toBe(counted.reduce((sum, [, held]) => sum + held, 0));
      limit = -1;
      budget.relieve();
      limit = Number.POSITIVE_INFINITY;
      const most = Math.max(...counted.map(([, held]) => digits(held)));
      expect(named.splice(0)).toEqual(
        counted
          .filter(([, held]) => digits(held) === most)
          .slice(0, 1)
          .map(([name]) => name),
      );
    }
  });
});
