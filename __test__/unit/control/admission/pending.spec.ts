import { getEventListeners } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { PendingQuestions } from '../../../../src/control/admission/pending.js';
import { turn } from '../../../helpers/wait.js';

/** Questions that are answered by hand. */
function desk(atOnce: number) {
  const questions = new PendingQuestions<string>(atOnce);
  const asked: string[] = [];
  const aborted: string[] = [];
  const answers = new Map<string, (answer: string) => void>();
  const ask = (question: string, signal = new AbortController().signal) =>
    questions.ask(question, signal, (whileWanted) => {
      asked.push(question);
      whileWanted.addEventListener('abort', () => aborted.push(question));
      return new Promise((resolve, reject) => {
        answers.set(question, resolve);
        whileWanted.addEventListener('abort', () => reject(new Error('given up')));
      });
    });
  return { questions, asked, aborted, ask, answer: (question: string) => answers.get(question)?.(`${question}!`) };
}

describe('PendingQuestions', () => {
  it('equal questions are asked once', async () => {
    const { asked, ask, answer } = desk(9);
    const both = Promise.all([ask('a'), ask('a')]);
    await turn();
    answer('a');
    expect(await both).toEqual(['a!', 'a!']);
    const again = ask('a');
    await turn();
    answer('a');
    await again;
    expect(asked).toEqual(['a', 'a']);
  });

  it('a bounded number of questions is asked at once, and the others in order', async () => {
    const { asked, ask, answer, questions } = desk(2);
    const all = ['a', 'b', 'c', 'd'].map((question) => ask(question));
    await turn();
    expect(asked).toEqual(['a', 'b']);
    expect(questions.counts).toEqual({ asking: 2, waiting: 2 });
    answer('b');
    await turn();
    expect(asked).toEqual(['a', 'b', 'c']);
    for (const question of ['a', 'c']) answer(question);
    await turn();
    answer('d');
    expect(await Promise.all(all)).toEqual(['a!', 'b!', 'c!', 'd!']);
    expect(questions.counts).toEqual({ asking: 0, waiting: 0 });
  });

  it('a question is aborted when its last caller leaves, and not before', async () => {
    const { aborted, ask, answer, questions } = desk(1);
    const [first, second, waiting] = [new AbortController(), new AbortController(), new AbortController()];
    const both = [ask('a', first.signal), ask('a', second.signal)];
    const queued = ask('b', waiting.signal);
    const failed = Promise.allSettled([...both, queued]);
    await turn();
    first.abort();
    await turn();
    expect(aborted).toEqual([]);
    waiting.abort();
    second.abort();
    expect((await failed).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(aborted).toEqual(['a']);
    await turn();
    expect(questions.counts).toEqual({ asking: 0, waiting: 0 });
    // A later caller has no part in the question that was given up.
    const later = ask('a');
    await turn();
    answer('a');
    expect(await later).toBe('a!');
  });

  it('a caller that comes while a question is given up asks anew', async () => {
    const { asked, aborted, ask, answer } = desk(2);
    const gone = new AbortController();
    const given = ask('a', gone.signal);
    await turn();
    gone.abort();
    const later = ask('a');
    await expect(given).rejects.toThrow();
    await turn();
    expect([asked, aborted]).toEqual([['a', 'a'], ['a']]);
    answer('a');
    expect(await later).toBe('a!');
  });

  it('a question whose caller leaves at once is not asked, and its turn is free again', async () => {
    const pending = new PendingQuestions<string>(1);
    const client = new AbortController();
    const ask = vi.fn(async () => 'yes');
    const answer = pending.ask('a', client.signal, ask);
    client.abort();
    await expect(answer).rejects.toThrow();
    await vi.waitFor(() => expect(pending.counts).toEqual({ asking: 0, waiting: 0 }));
    expect(ask).not.toHaveBeenCalled();
    expect(await pending.ask('b', new AbortController().signal, ask)).toBe('yes');
  });

  it('a caller that comes after a question was given up joins the one that was asked anew', async () => {
    const { asked, ask, answer } = desk(2);
    const gone = new AbortController();
    const given = ask('a', gone.signal);
    await turn();
    gone.abort();
    const later = ask('a');
    await expect(given).rejects.toThrow('no client waits for the answer any more');
    await turn();
    const last = ask('a');
    await turn();
    expect(asked).toEqual(['a', 'a']);
    answer('a');
    expect(await Promise.all([later, last])).toEqual(['a!', 'a!']);
  });

  it('a question that is over leaves no listener at the signal of its caller', async () => {
    const { ask, answer } = desk(1);
    const { signal } = new AbortController();
    const asked = ask('a', signal);
    await turn();
    answer('a');
    await asked;
    await turn();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('a question that is given up while it waits for its turn waits no more', async () => {
    const { asked, ask, questions } = desk(1);
    void ask('a');
    const gone = new AbortController();
    const given = ask('b', gone.signal);
    await turn();
    expect(questions.counts).toEqual({ asking: 1, waiting: 1 });
    gone.abort();
    await expect(given).rejects.toThrow('no client waits for the answer any more');
    expect(questions.counts).toEqual({ asking: 1, waiting: 0 });
    expect(asked).toEqual(['a']);
  });

  it('a caller that has gone already is rejected', async () => {
    const { asked, ask } = desk(1);
    await expect(ask('a', AbortSignal.abort())).rejects.toThrow();
    await turn();
    const { length } = asked;
    expect(length).toBeLessThanOrEqual(1);
  });
});
