import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { unmapped } from '../address.js';
import type { ConnectionId } from '../plane.js';
import { type ClientHello, HelloReader, readClientHello } from './client-hello.js';
import type { PlaneContext } from './context.js';
import type { HandshakeFault } from './failures.js';
import { HTTP_TO_TLS, isHttpToTls } from './http-head.js';
import { acceptTls, type ReadyCertificate, type TlsContexts } from './tls.js';
import { Wheel } from './wheel.js';

/** The fatal alert `unrecognized_name`, as a record. */
const UNRECOGNIZED_NAME = Buffer.from('15030300020270', 'hex');
/** Most protocols of a client that `certificateNeeded` reports. */
const MAX_PROTOCOLS = 16;
/** Bytes that a client may send behind its ClientHello while it waits for a certificate. */
const MAX_UNREAD = 16 << 10;

export interface HandshakeOwner {
  readonly context: PlaneContext;
  readonly id: ConnectionId;
  /**
   * Goes on to those that wait for a certificate (`parked`), or back to those that arrive, and gives the patience with it
   * there: what is left of `whole`. `undefined` if it has no place there.
   */
  moveTo(pool: 'arriving' | 'parked', whole: number): number | undefined;
  /** The current certificates. */
  tls(): TlsContexts;
  /** Sets a new deadline, on the wheel's clock. */
  onDeadline(when: number): void;
  /** Ends the owner after a fault in its handshake. */
  fail(): void;
  /** It has failed for a reason that only the handshake knows. Its socket ends. */
  onFault(fault: HandshakeFault): void;
  /** OpenSSL has taken over: the handshake is done or fails with this stream's events. */
  onAccepted(stream: TLSSocket): void;
}

/** The server's side of a TLS handshake, until a certificate is chosen. */
export class Handshake {
  /** What the client has asked for; empty if it has not. */
  serverName = '';
  /** What came is no ClientHello: whatever OpenSSL says of it, it has looked for one. */
  isOther = false;
  private received: Buffer = Buffer.alloc(0);
  private readonly hello = new HelloReader();
  private isParked = false;
  private readonly onData: (chunk: Buffer) => void;

  constructor(
    private readonly socket: Socket,
    private readonly owner: HandshakeOwner,
  ) {
    this.onData = owner.context.barrier.guard(
      'a handshake',
      (chunk: Buffer) => this.onBytes(chunk),
      () => owner.fail(),
    );
    socket.on('data', this.onData);
  }

  /** Whether it waits for a certificate. */
  get waits(): boolean {
    return this.isParked;
  }

  /** There are other certificates. */
  lookAgain(): void {
    const hello = readClientHello(this.received);
    if (typeof hello === 'string') return;
    const choice = this.choose(hello);
    if (choice === 'ask') return;
    this.leave();
    const patience = this.owner.moveTo('arriving', this.owner.context.policy.deadlines.handshake);
    if (choice === 'refuse' || patience === undefined) {
      this.refuse();
      return;
    }
    this.owner.onDeadline(Wheel.now() + patience);
    this.accept(choice);
  }

  /** There is to be no certificate for it. */
  end(): void {
    this.owner.onFault({ reason: 'no_certificate' });
    this.leave();
    this.socket.off('data', this.onData);
    this.socket.destroy();
  }

  /** Unparks the handshake: it goes on, or has ended. */
  leave(): void {
    if (!this.isParked) return;
    this.isParked = false;
    this.owner.context.parked.delete(this.owner.id);
  }

  private onBytes(chunk: Buffer): void {
    this.received = Buffer.concat([this.received, chunk]);
    if (this.isParked) {
      // The client has nothing to send now. The plane reads, within a limit, only to notice a disconnect.
      if (this.received.length > MAX_UNREAD) this.socket.pause();
      return;
    }
    const isHttp = isHttpToTls(this.received);
    if (isHttp === 'more') return;
    if (isHttp) {
      this.owner.onFault({ reason: 'http' });
      this.endWith(HTTP_TO_TLS);
      return;
    }
    const hello = this.hello.read(this.received);
    if (hello === 'more') return;
    if (hello === 'other') this.isOther = true;
    else this.serverName = hello.serverName;
    const choice = hello === 'other' ? this.owner.tls().first : this.choose(hello);
    if (choice === 'refuse') this.refuse();
    else if (choice === 'ask') this.park(hello as ClientHello);
    else this.accept(choice);
  }

  private choose(hello: ClientHello): ReadyCertificate | 'ask' | 'refuse' {
    return this.owner.tls().choose(hello, this.socket.localAddress ?? '');
  }

  private park({ serverName, alpn }: ClientHello): void {
    const { context, id } = this.owner;
    const patience = this.owner.moveTo('parked', context.policy.deadlines.certificate);
    if (patience === undefined) {
      this.refuse();
      return;
    }
    this.isParked = true;
    context.parked.set(id, this);
    this.owner.onDeadline(Wheel.now() + patience);
    const localAddress = unmapped(this.socket.localAddress ?? '');
    const need = { id, serverName, localAddress, alpn: alpn.slice(0, MAX_PROTOCOLS) };
    context.events.raise(
      (to) => to.certificateNeeded(need),
      () => this.end(),
    );
  }

  private accept(certificate: ReadyCertificate | undefined): void {
    const { socket } = this;
    socket.off('data', this.onData);
    socket.pause();
    // OpenSSL starts with the bytes read so far.
    socket.unshift(this.received);
    this.owner.onAccepted(acceptTls(socket, certificate));
  }

  private refuse(): void {
    this.owner.onFault({ reason: this.serverName === '' ? 'no_name' : 'unknown_name' });
    this.endWith(UNRECOGNIZED_NAME);
  }

  private endWith(lastWords: Buffer | string): void {
    this.socket.off('data', this.onData);
    this.socket.end(lastWords);
    this.socket.destroySoon();
  }
}
