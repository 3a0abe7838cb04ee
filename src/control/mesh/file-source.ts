/** Relays of the mesh in a file, one on each line. */
import { open } from 'node:fs/promises';
import { reasonOf } from '../../errors.js';
import type { Barrier } from '../../faults/barrier.js';
import { type MeshPeer, parseMeshPeer } from '../../protocol/mesh-peer.js';
import { FileWatch } from '../file-watch.js';
import type { MeshSource, SourceSink } from './source.js';
import { type FoundRelay, idOf } from './wanted.js';

/** Milliseconds between looks at the file. */
const INTERVAL = 1_000;
/** The longest file, in bytes. */
const LONGEST = 1 << 20;

export class FileSource implements MeshSource {
  readonly name: string;
  private watch: FileWatch | undefined;
  private sink: SourceSink | undefined;
  private stopped = false;

  constructor(
    private readonly path: string,
    private readonly barrier: Barrier,
    private readonly interval = INTERVAL,
  ) {
    this.name = `file ${path}`;
  }

  start(sink: SourceSink): void {
    this.sink = sink;
    this.watch = new FileWatch([this.path], () => this.look(), this.interval);
    // Whatever changes after this is reported.
    void this.watch.ready.then(() => this.look());
  }

  look(): void {
    if (!this.stopped) void this.barrier.settle('a file of mesh relays', this.read());
  }

  /** Nothing to do: the file is not this relay's. */
  async withdraw(): Promise<void> {}

  stop(): void {
    this.stopped = true;
    this.watch?.stop();
  }

  private async read(): Promise<void> {
    let relays: readonly FoundRelay[];
    try {
      relays = relaysIn(await textOf(this.path));
    } catch (error) {
      if (!this.stopped) this.sink?.failed(`${this.path}: ${reasonOf(error)}`);
      return;
    }
    if (!this.stopped) this.sink?.found(relays);
  }
}

const FORMS = 'it has to be host, host:port or host:port/dialhost, such as relay.example.com:8443/10.0.0.3';

/** The relays of a file. Throws an Error that names the first wrong line: half a list is no list. */
export function relaysIn(text: string): FoundRelay[] {
  const relays = new Map<string, FoundRelay>();
  for (const [index, line] of text.split('\n').entries()) {
    const entry = line.replace(/#.*/, '').trim();
    if (entry === '') continue;
    const peer = parseMeshPeer(entry);
    if (!peer) throw new Error(`line ${index + 1} is no relay: ${FORMS}`);
    const relay = { peer, name: nameOf(peer) };
    relays.set(idOf(relay), relay);
  }
  return [...relays.values()];
}

/** Of several relays with one name, the address tells which is meant. */
function nameOf({ authority, host, dialHost }: MeshPeer): string {
  return host === dialHost ? authority : `${authority}/${dialHost}`;
}

async function textOf(path: string): Promise<string> {
  const file = await open(path);
  try {
    const buffer = Buffer.alloc(LONGEST + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) return buffer.toString('utf8', 0, length);
      length += bytesRead;
      if (length > LONGEST) throw new Error(`it is longer than ${LONGEST} bytes`);
    }
  } finally {
    await file.close();
  }
}
