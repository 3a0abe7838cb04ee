/**
 * A plugin for Stryker: a checker that restricts a run to the wanted mutants, and a reporter that writes each result at
 * once.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { place } from './place.mjs';

const { wanted, results } = JSON.parse(readFileSync(process.env.DERPKIT_MUTATION_PLAN, 'utf8'));
const places = new Set(wanted);

class Wanted {
  async init() {}
  async group(mutants) {
    return [mutants.map(({ id }) => id)];
  }
  async check(mutants) {
    const answer = (mutant) =>
      places.has(place(mutant)) ? { status: 'passed' } : { status: 'compileError', reason: 'not wanted' };
    return Object.fromEntries(mutants.map((mutant) => [mutant.id, answer(mutant)]));
  }
}

class Record {
  places = new Map();
  onMutationTestingPlanReady({ mutantPlans }) {
    for (const { mutant } of mutantPlans) this.places.set(mutant.id, place(mutant));
  }
  onMutantTested({ id, status, killedBy }) {
    appendFileSync(results, `${JSON.stringify({ place: this.places.get(id), status, killedBy })}\n`);
  }
}

export const strykerPlugins = [
  { kind: 'Checker', name: 'wanted', injectableClass: Wanted },
  { kind: 'Reporter', name: 'record', injectableClass: Record },
];
