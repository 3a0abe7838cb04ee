/** Questions to other relays about themselves, and their answers. */
import { randomBytes } from 'node:crypto';
import type { NodeKey } from '../../protocol/key.js';
import { MOST_RELAYS } from './announced.js';
import { DirectoryError, type DirectoryTrouble, type RelayFacts } from './directory.js';
import type { LinkMessage } from './link.js';
import { Kind } from './messages.js';
import { readFacts } from './relay-facts.js';
import { boundTo } from './seal.js';
import type { SealedLink } from './sealed-link.js';
import type { Subjects } from './subjects.js';

/** Milliseconds for an answer. */
const PATIENCE = 1_000;
/** Questions under way at once: one to each relay of the largest region. */
const MOST_QUESTIONS = MOST_RELAYS;

interface Question {
  readonly relay: NodeKey;
  readonly token: string;
  readonly promise: Promise<RelayFacts>;
  resolve(facts: RelayFacts): void;
  reject(error: DirectoryError): void;
  timer: NodeJS.Timeout;
}

export class Questions {
  private readonly byRelay = new Map<NodeKey, Question>();
  private readonly byToken = new Map<string, Question>();
  private sealed: SealedLink | undefined;
  private inbox = '';
  private last = 0;

  constructor(private readonly subjects: Subjects) {}

  connected(sealed: SealedLink): void {
    this.sealed = sealed;
    this.inbox = `${this.subjects.inbox}.${randomBytes(12).toString('hex')}`;
    sealed.link.subscribe(`${this.inbox}.*`, { onMessage: (message) => this.hear(sealed, message) });
  }

  disconnected(): void {
    this.sealed = undefined;
    for (const question of [...this.byRelay.values()]) this.fail(question, 'down');
  }

  /** Questions to a relay that is being asked already are one question. */
  ask(relay: NodeKey): Promise<RelayFacts> {
    const known = this.byRelay.get(relay);
    if (known) return known.promise;
    if (!this.sealed) return Promise.reject(new DirectoryError('down'));
    if (this.byRelay.size >= MOST_QUESTIONS) return Promise.reject(new DirectoryError('crowded'));
    const question = this.begin(relay);
    const [reply, subject] = [`${this.inbox}.${question.token}`, this.subjects.relay(relay)];
    this.sealed.send(subject, boundTo(subject), Kind.Ask, Buffer.from(reply, 'latin1'), reply);
    return question.promise;
  }

  private begin(relay: NodeKey): Question {
    let resolve: Question['resolve'] = () => {};
    let reject: Question['reject'] = () => {};
    const promise = new Promise<RelayFacts>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    this.last += 1;
    const token = this.last.toString(36);
    const timer = setTimeout(() => this.fail(question, 'silent'), PATIENCE).unref();
    const question: Question = { relay, token, promise, resolve, reject, timer };
    this.byRelay.set(relay, question);
    this.byToken.set(token, question);
    return question;
  }

  /** An answer that no code waits for any more is dropped. */
  private hear(sealed: SealedLink, message: LinkMessage): void {
    const question = this.byToken.get(message.subject.slice(message.subject.lastIndexOf('.') + 1));
    if (message.isNoResponders) {
      if (question) this.fail(question, 'absent');
      return;
    }
    sealed.take(message, boundTo(message.subject), ({ kind, body }) => {
      const facts = kind === Kind.Facts ? readFacts(body) : undefined;
      if (question && facts) this.answer(question, facts);
      else if (question) this.fail(question, 'malformed');
      return facts !== undefined;
    });
  }

  private answer(question: Question, facts: RelayFacts): void {
    this.end(question);
    question.resolve(facts);
  }

  private fail(question: Question, trouble: DirectoryTrouble): void {
    this.end(question);
    question.reject(new DirectoryError(trouble));
  }

  private end({ relay, token, timer }: Question): void {
    clearTimeout(timer);
    this.byRelay.delete(relay);
    this.byToken.delete(token);
  }
}
