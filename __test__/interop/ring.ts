/** Three relays that mesh with each other, and the program that plays on them. It starts and ends them, for it cuts, too. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Workspace } from './scenarios.ts';
import { commandOf, flags, threePorts } from './servers.ts';

/** A relay: derpkit on one of its planes, or derper. */
export type Kind = 'native' | 'js' | 'derper';

/** A thing that relays may do one way or the other. */
export interface Fact {
  readonly node: number;
  readonly what: string;
  readonly is: string;
}

interface Result {
  readonly scenario: string;
  readonly took: number;
  readonly error?: string;
  readonly facts?: readonly Fact[];
}

const ADDRESS = '127.0.0.1';
/** Names that no resolver knows: everything hangs on `host/dialhost`. */
export const RING_NAMES = ['derp1.test', 'derp2.test', 'derp3.test', 'wrong-key.test', 'crowd.test'] as const;

/** A mesh of three, on which scenarios are played one after the other. */
export class Ring {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #results = new Map<string, Result>();
  readonly #ended: Promise<void>;
  #waiting: (() => void)[] = [];
  #over = false;
  #said = '';

  private constructor(program: string, plan: string, scenarios: readonly string[]) {
    this.#child = spawn(program, ['-ring', plan, '-run', scenarios.join(',')]);
    createInterface(this.#child.stdout).on('line', (line) => this.#take(line));
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
    this.#ended = new Promise((resolve) => {
      this.#child.on('error', (error) => {
        this.#said += error.message;
      });
      this.#child.on('close', () => {
        this.#over = true;
        this.#wake();
        resolve();
      });
    });
  }

  /** Starts three relays of these kinds, and everything else at once; it goes on by itself. */
  static async start(workspace: Workspace, kinds: readonly Kind[], scenarios: readonly string[]): Promise<Ring> {
    const [, , , WrongKey, Crowd] = RING_NAMES;
    const { directory, peers, authority, meshKey } = workspace;
    const name = kinds.join('-');
    const Nodes = [];
    for (const [i, kind] of kinds.entries()) {
      const ports = await threePorts(ADDRESS);
      const hostname = RING_NAMES[i] as string;
      const own = { address: ADDRESS, hostname, directory, name: `${name}-${i}` };
      const command = commandOf(kind === 'derper' ? kind : 'derpkit', peers);
      const plane = kind === 'derper' ? [] : [`DERPKIT_PLANE=${kind}`];
      Nodes.push({
        HostName: hostname,
        Address: `${ADDRESS}:${ports.main}`,
        Command: [...command, ...flags(own, ports)],
        Env: [`SSL_CERT_FILE=${authority}`, ...plane],
      });
    }
    const plan = join(directory, `${name}.json`);
    const others = { CAFile: authority, MeshKeyFile: meshKey, Directory: directory, WrongKey, Crowd };
    writeFileSync(plan, JSON.stringify({ Nodes, ...others }));
    return new Ring(peers.interop, plan, scenarios);
  }

  /** Waits for the result of a scenario. Throws if it has failed. */
  async result(scenario: string): Promise<readonly Fact[]> {
    for (;;) {
      const result = this.#results.get(scenario);
      if (result?.error !== undefined) throw new Error(result.error);
      if (result) return result.facts ?? [];
      if (this.#over) throw new Error(`it was not played: ${this.#said}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Ends it all. The program kills its relays when nobody holds its standard input any more. */
  async stop(): Promise<void> {
    this.#child.stdin.end();
    await this.#ended;
  }

  #take(line: string): void {
    if (!line.startsWith('{')) return; // details for people
    const result = JSON.parse(line) as Result;
    this.#results.set(result.scenario, result);
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
