/**
 * The events that come with every login, and those of keys that have no connection here, as the addon writes them: bytes,
 * which cost less than objects that the addon makes.
 * `crates/derp-node/src/records.rs` has the layout.
 */
import { type NodeKey, readNodeKey } from '../protocol/key.js';
import type { BindingEvent } from './binding.js';
import type { ConnectionId } from './ids.js';
import type { CloseReason, Login } from './plane.js';

/** Bytes for the records of one call: about two hundred logins. */
const ROOM = 32 << 10;
const KEY_LENGTH = 32;

const LOGIN = 1;
const CLOSED = 2;
const ACTIVE = 3;
const PREFER = 4;
const LOOKUP = 5;
const HEARD = 6;

const NOT_IDEAL = 1;
const CAN_ACK_PINGS = 2;
const IS_PROBER = 4;
const TLS_12 = 8;
const TLS_13 = 16;
const MESH_KEY = 32;

/** An event that crosses as a record. */
export type RecordedEvent =
  | { readonly kind: 'login'; readonly id: ConnectionId; readonly login: Login }
  | { readonly kind: 'closed'; readonly id: ConnectionId; readonly reason: CloseReason }
  | { readonly kind: 'active'; readonly id: ConnectionId; readonly key: NodeKey; readonly sequence: number }
  | { readonly kind: 'prefer'; readonly id: ConnectionId; readonly home: boolean; readonly moves: number }
  | { readonly kind: 'lookup' | 'heard'; readonly id: 0; readonly key: NodeKey };

export class EventRecords {
  /** For the addon to write into. */
  readonly bytes = Buffer.alloc(ROOM);
  private at = 0;

  /** Whether the addon has more events than there was room for. */
  get areMore(): boolean {
    return this.bytes[2] === 1;
  }

  /** All events of one call, in order. `others` are those that have no record. */
  read(others: readonly BindingEvent[]): (RecordedEvent | BindingEvent)[] {
    const events: (RecordedEvent | BindingEvent)[] = [];
    const count = this.bytes.readUInt16LE(0);
    this.at = 3;
    let next = 0;
    for (let index = 0; index < count; index += 1) {
      const kind = this.byte();
      if (kind === 0) {
        events.push(others[next] as BindingEvent);
        next += 1;
      } else events.push(this.record(kind, this.number()));
    }
    return events;
  }

  private record(kind: number, id: ConnectionId): RecordedEvent {
    switch (kind) {
      case LOGIN:
        return { kind: 'login', id, login: this.login(id) };
      case CLOSED:
        return { kind: 'closed', id, reason: this.text() as CloseReason };
      case ACTIVE:
        return { kind: 'active', id, key: this.key(), sequence: this.number() };
      case PREFER:
        return { kind: 'prefer', id, home: this.byte() === 1, moves: this.word() };
      case LOOKUP:
      case HEARD:
        return { kind: kind === LOOKUP ? 'lookup' : 'heard', id: 0, key: this.key() };
      default:
        throw new Error(`the addon wrote a record of kind ${kind}`);
    }
  }

  private login(id: ConnectionId): Login {
    const key = this.key();
    const port = this.short();
    const flags = this.byte();
    const version = this.number();
    const address = this.text();
    const appName = this.text();
    const meshKey = (flags & MESH_KEY) === 0 ? undefined : this.hex();
    return {
      id,
      key,
      info: {
        version,
        meshKey,
        canAckPings: (flags & CAN_ACK_PINGS) !== 0,
        isProber: (flags & IS_PROBER) !== 0,
        appName,
      },
      peer: { address, port },
      tlsVersion: (flags & TLS_13) !== 0 ? '1.3' : (flags & TLS_12) !== 0 ? '1.2' : null,
      notIdeal: (flags & NOT_IDEAL) !== 0,
    };
  }

  private byte(): number {
    return this.bytes.readUInt8(this.skip(1));
  }

  private short(): number {
    return this.bytes.readUInt16LE(this.skip(2));
  }

  private word(): number {
    return this.bytes.readUInt32LE(this.skip(4));
  }

  private number(): number {
    return this.bytes.readDoubleLE(this.skip(8));
  }

  private key(): NodeKey {
    return readNodeKey(this.bytes, this.skip(KEY_LENGTH));
  }

  private hex(): string {
    const from = this.skip(KEY_LENGTH);
    return this.bytes.toString('hex', from, from + KEY_LENGTH);
  }

  private text(): string {
    const length = this.byte();
    const from = this.skip(length);
    return this.bytes.toString('latin1', from, from + length);
  }

  /** Returns where the bytes that are skipped begin. */
  private skip(count: number): number {
    const from = this.at;
    this.at += count;
    return from;
  }
}
