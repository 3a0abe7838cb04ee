/**
 * A plane behind a distance: another one, every crossing of which takes its time and carries plain data only. It promises
 * what `plane.ts` does and nothing more, so an interface that works on one thread alone, or by luck, fails behind it.
 */
import type { DataPlane, Listening, PlaneEvents, PlaneFactory, PlaneOptions, Snapshot } from '../../src/plane/plane.js';
import type { SelectedPlane } from '../../src/plane/select.js';
import { seeded } from './random.js';

/** Milliseconds that a crossing takes at most. */
const FARTHEST = 50;

export function asyncPlane(inner: SelectedPlane, seed: number): SelectedPlane {
  const create: PlaneFactory = (options, events) => new AsyncPlane(inner.create, options, events, seeded(seed));
  return { kind: inner.kind, reason: `${inner.reason}; behind delays`, create };
}

class AsyncPlane implements DataPlane {
  readonly kind: DataPlane['kind'];
  readonly counters: DataPlane['counters'];
  private readonly inner: DataPlane;
  private readonly down: Channel;
  private readonly up: Upward;
  private closing: Promise<void> | undefined;

  constructor(
    create: PlaneFactory,
    options: PlaneOptions,
    events: PlaneEvents,
    private readonly random: () => number,
  ) {
    this.down = new Channel(random);
    this.up = new Upward(events, random);
    this.inner = create(cross(options), this.up);
    this.kind = this.inner.kind;
    this.counters = this.inner.counters;
  }

  listen(...args: Parameters<DataPlane['listen']>): Promise<Listening> {
    const crossed = cross(args);
    return this.ask(() => this.inner.listen(...crossed));
  }

  certificates(...args: Parameters<DataPlane['certificates']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.certificates(...crossed));
  }

  policy(...args: Parameters<DataPlane['policy']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.policy(...crossed));
  }

  admit(...args: Parameters<DataPlane['admit']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.admit(...crossed));
  }

  limit(...args: Parameters<DataPlane['limit']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.limit(...crossed));
  }

  refuse(...args: Parameters<DataPlane['refuse']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.refuse(...crossed));
  }

  close(...args: Parameters<DataPlane['close']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.close(...crossed));
  }

  route(...args: Parameters<DataPlane['route']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.route(...crossed));
  }

  missing(...args: Parameters<DataPlane['missing']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.missing(...crossed));
  }

  gone(...args: Parameters<DataPlane['gone']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.gone(...crossed));
  }

  send(...args: Parameters<DataPlane['send']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.send(...crossed));
  }

  adopt(...args: Parameters<DataPlane['adopt']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.adopt(...crossed));
  }

  attach(...[stream, ...rest]: Parameters<DataPlane['attach']>) {
    const crossed = cross(rest);
    return this.ask(() => this.inner.attach(stream, ...crossed));
  }

  dial(...args: Parameters<DataPlane['dial']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.dial(...crossed));
  }

  hangUp(...args: Parameters<DataPlane['hangUp']>): void {
    const crossed = cross(args);
    this.down.push(() => this.inner.hangUp(...crossed));
  }

  snapshot(...args: Parameters<DataPlane['snapshot']>): Promise<Snapshot> {
    const crossed = cross(args);
    return this.ask(() => this.inner.snapshot(...crossed));
  }

  pulse(): Promise<void> {
    return this.ask(() => this.inner.pulse());
  }

  tap(...args: Parameters<DataPlane['tap']>): ReturnType<DataPlane['tap']> {
    return this.inner.tap(...cross(args));
  }

  /** Everything asked for before still happens, and every event of it still arrives. */
  shutdown(): Promise<void> {
    this.closing ??= this.ask(async () => {
      await this.inner.shutdown();
      await this.up.drained();
    });
    return this.closing;
  }

  /** A command that answers; its answer takes its time too. */
  private ask<T>(command: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const back = (settle: () => void) => setTimeout(settle, this.random() * FARTHEST);
      this.down.push(() => {
        command().then(
          (value) => back(() => resolve(cross(value))),
          (error: unknown) => back(() => reject(errorAcross(error))),
        );
      });
    });
  }
}

/** The events' way up: those of one connection, or link, stay in order; between two of them nothing is promised. */
class Upward implements PlaneEvents {
  private readonly channels = new Map<string, Channel>();

  constructor(
    private readonly to: PlaneEvents,
    private readonly random: () => number,
  ) {}

  login(...args: Parameters<PlaneEvents['login']>): void {
    const crossed = cross(args);
    this.raise(`connection ${args[0].id}`, () => this.to.login(...crossed));
  }

  closed(...args: Parameters<PlaneEvents['closed']>): void {
    const crossed = cross(args);
    this.raise(`connection ${args[0]}`, () => this.to.closed(...crossed));
  }

  active(...args: Parameters<PlaneEvents['active']>): void {
    const crossed = cross(args);
    this.raise(`connection ${args[1]}`, () => this.to.active(...crossed));
  }

  watch(...args: Parameters<PlaneEvents['watch']>): void {
    const crossed = cross(args);
    this.raise(`connection ${args[0]}`, () => this.to.watch(...crossed));
  }

  closePeer(...args: Parameters<PlaneEvents['closePeer']>): void {
    const crossed = cross(args);
    this.raise(`connection ${args[0]}`, () => this.to.closePeer(...crossed));
  }

  prefer(...args: Parameters<PlaneEvents['prefer']>): void {
    const crossed = cross(args);
    this.raise(`connection ${args[0]}`, () => this.to.prefer(...crossed));
  }

  pulled(...args: Parameters<PlaneEvents['pulled']>): void {
    const crossed = cross(args);
    this.raise(`connection ${args[0]}`, () => this.to.pulled(...crossed));
  }

  lookup(...args: Parameters<PlaneEvents['lookup']>): void {
    const crossed = cross(args);
    this.raise(`key ${args[0]}`, () => this.to.lookup(...crossed));
  }

  heard(...args: Parameters<PlaneEvents['heard']>): void {
    const crossed = cross(args);
    this.raise(`key ${args[0]}`, () => this.to.heard(...crossed));
  }

  linkOpen(...args: Parameters<PlaneEvents['linkOpen']>): void {
    const crossed = cross(args);
    this.raise(`link ${args[0]}`, () => this.to.linkOpen(...crossed));
  }

  linkPeers(...args: Parameters<PlaneEvents['linkPeers']>): void {
    const crossed = cross(args);
    this.raise(`link ${args[0]}`, () => this.to.linkPeers(...crossed));
  }

  linkClosed(...args: Parameters<PlaneEvents['linkClosed']>): void {
    const crossed = cross(args);
    this.raise(`link ${args[0]}`, () => this.to.linkClosed(...crossed));
  }

  certificateNeeded(...args: Parameters<PlaneEvents['certificateNeeded']>): void {
    const crossed = cross(args);
    this.raise(`connection ${args[0].id}`, () => this.to.certificateNeeded(...crossed));
  }

  drops(...args: Parameters<PlaneEvents['drops']>): void {
    const crossed = cross(args);
    this.raise('drops', () => this.to.drops(...crossed));
  }

  failures(...args: Parameters<PlaneEvents['failures']>): void {
    const crossed = cross(args);
    this.raise('failures', () => this.to.failures(...crossed));
  }

  crowded(...args: Parameters<PlaneEvents['crowded']>): void {
    const crossed = cross(args);
    this.raise('failures', () => this.to.crowded(...crossed));
  }

  duplex(...[id, stream, info]: Parameters<PlaneEvents['duplex']>): void {
    const crossed = cross({ id, info });
    this.raise(`connection ${id}`, () => this.to.duplex(crossed.id, stream, crossed.info));
  }

  fault(...args: Parameters<PlaneEvents['fault']>): void {
    const crossed = cross(args);
    this.raise('plane', () => this.to.fault(...crossed));
  }

  /** Resolves when everything raised so far, and by its handlers, has arrived. */
  async drained(): Promise<void> {
    while (this.channels.size > 0) await Promise.all([...this.channels.values()].map((channel) => channel.drained()));
  }

  private raise(name: string, deliver: () => void): void {
    const channel = this.channels.get(name) ?? new Channel(this.random);
    this.channels.set(name, channel);
    channel.push(() => {
      // An empty channel is worth nothing: its next event comes later than any before.
      if (channel.waiting === 0) this.channels.delete(name);
      deliver();
    });
  }
}

/** Tasks in their order, each some time after it was pushed. */
class Channel {
  private readonly tasks: (() => void)[] = [];
  private readonly drains: (() => void)[] = [];
  private due = 0;

  constructor(private readonly random: () => number) {}

  get waiting(): number {
    return this.tasks.length;
  }

  push(task: () => void): void {
    const now = performance.now();
    this.due = Math.max(this.due, now + this.random() * FARTHEST);
    this.tasks.push(task);
    // As many timers as tasks; which timer runs which does not matter, the order of the tasks does.
    setTimeout(() => this.run(), this.due - now);
  }

  drained(): Promise<void> {
    return new Promise((resolve) => {
      this.drains.push(resolve);
      if (this.tasks.length === 0) this.settle();
    });
  }

  private run(): void {
    const task = this.tasks.shift() as () => void;
    try {
      task();
    } finally {
      if (this.tasks.length === 0) this.settle();
    }
  }

  private settle(): void {
    for (const resolve of this.drains.splice(0)) resolve();
  }
}

/** What arrives on the other side. Throws where that would not be the same: a clone drops an instance's class in silence. */
function cross<T>(value: T): T {
  assertPlain(value, 'value');
  return structuredClone(value);
}

function assertPlain(value: unknown, path: string): void {
  if (typeof value === 'function' || typeof value === 'symbol') throw new TypeError(`${path} is a ${typeof value}`);
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (Array.isArray(value)) {
    value.forEach((item, index) => {
      assertPlain(item, `${path}[${index}]`);
    });
  } else if (prototype === Object.prototype || prototype === null) {
    for (const [name, field] of Object.entries(value)) assertPlain(field, `${path}.${name}`);
  } else {
    throw new TypeError(`${path} is an instance of ${value.constructor.name}, not plain data`);
  }
}

/** An error as a binding makes it anew: text, code and cause; its class is left behind. */
function errorAcross(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const { message, code, cause } = error as NodeJS.ErrnoException;
  const crossed = new Error(message, cause === undefined ? undefined : { cause: errorAcross(cause) });
  return Object.assign(crossed, code !== undefined && { code });
}
