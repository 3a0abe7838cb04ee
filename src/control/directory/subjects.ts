/** The subjects of a region in NATS. None of them tells which keys there are. Pure. */
import { createHmac } from 'node:crypto';
import { type NodeKey, nodeKeyBytes, nodeKeyHex } from '../../protocol/key.js';
import { asBound, type Bound } from './seal.js';

/** The subjects of one node key. */
export interface KeySubjects {
  /** The relays that have the key listen here. */
  readonly key: string;
  /** News about the key, for relays that watch it. */
  readonly news: string;
  /** What messages under both belong to. */
  readonly bound: Bound;
}

const PREFIX = Buffer.from('derpkit/1');

export class Subjects {
  /** Everything that a relay publishes and listens to: what its user in NATS has to be permitted. */
  readonly all: string;
  /** The announcements of relays. */
  readonly relays: string;
  /** What the subjects for answers begin with. */
  readonly inbox: string;
  private readonly region: string;
  private readonly meshKey: Buffer;
  private readonly answers: RegExp;

  /** `meshKey` is 64 hex digits. */
  constructor(region: string, meshKey: string) {
    this.region = `derpkit.${region}`;
    this.all = `${this.region}.>`;
    this.relays = `${this.region}.relays`;
    this.inbox = `${this.region}.inbox`;
    this.meshKey = Buffer.from(meshKey, 'hex');
    this.answers = new RegExp(`^${this.inbox.replaceAll('.', '\\.')}\\.[a-zA-Z0-9]{1,64}\\.[a-z0-9]{1,16}$`);
  }

  of(key: NodeKey): KeySubjects {
    const hash = createHmac('sha256', this.meshKey).update(PREFIX).update(nodeKeyBytes(key)).digest();
    const hex = hash.toString('hex');
    return { key: `${this.region}.key.${hex}`, news: `${this.region}.news.${hex}`, bound: asBound(hash) };
  }

  /** What messages under the subject of a key, or of its news, belong to. */
  boundOf(subject: string): Bound {
    return asBound(Buffer.from(subject.slice(subject.lastIndexOf('.') + 1), 'hex'));
  }

  /** Where a relay answers questions about itself. */
  relay(id: NodeKey): string {
    return `${this.region}.relay.${nodeKeyHex(id)}`;
  }

  /** Whether a subject is one for answers: a relay answers nowhere else, whatever it is told. */
  isForAnswers(subject: string): boolean {
    return this.answers.test(subject);
  }
}
