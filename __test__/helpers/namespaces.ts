/** Network namespaces on a bridge of this machine, one for each address, between which the network can be cut. Needs root. */
import { execFileSync, spawnSync } from 'node:child_process';

/** Why there can be none here; `undefined` if there can. */
export function whyNoNamespaces(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'network namespaces need root on Linux';
  return spawnSync('ip', ['netns', 'list']).status === 0 ? undefined : 'ip cannot list network namespaces';
}

/** How many were made: what one leaves behind is gone a moment later. */
let made = 0;

export class Namespaces {
  private readonly bridge: string;
  private readonly cuts = new Map<string, string[]>();

  /** `network`: the first three bytes of the addresses with a dot behind. The bridge has the addresses `here` on this side. */
  constructor(
    private readonly network: string,
    here: readonly number[],
    private readonly numbers: readonly number[],
  ) {
    made += 1;
    // A name of an interface has up to 15 characters.
    this.bridge = `dk${process.pid % 100_000}-${made}`;
    ip('link', 'add', this.bridge, 'type', 'bridge');
    for (const number of here) ip('addr', 'add', `${network}${number}/24`, 'dev', this.bridge);
    ip('link', 'set', this.bridge, 'up');
    for (const number of numbers) {
      const name = this.nameOf(number);
      ip('netns', 'add', name);
      ip('link', 'add', this.linkOf(number), 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
      ip('link', 'set', this.linkOf(number), 'master', this.bridge, 'up');
      ip('-n', name, 'addr', 'add', `${network}${number}/24`, 'dev', 'eth0');
      ip('-n', name, 'link', 'set', 'lo', 'up');
      ip('-n', name, 'link', 'set', 'eth0', 'up');
    }
  }

  /** A command in the namespace of an address. */
  within(number: number, command: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.nameOf(number), ...command];
  }

  /** Nothing from this address reaches these others any more, and what they send is not answered: no end of a connection is told. */
  cut(number: number, others: readonly number[]): void {
    const routes = others.map((other) => `${this.network}${other}/32`);
    for (const route of routes) ip('-n', this.nameOf(number), 'route', 'add', 'blackhole', route);
    this.cuts.set(this.nameOf(number), routes);
  }

  heal(number: number): void {
    const name = this.nameOf(number);
    for (const route of this.cuts.get(name) ?? []) ip('-n', name, 'route', 'del', 'blackhole', route);
    this.cuts.delete(name);
  }

  close(): void {
    for (const number of this.numbers) {
      // Connections that still wait for an answer keep a namespace, and its link, for minutes.
      spawnSync('ip', ['link', 'del', this.linkOf(number)]);
      spawnSync('ip', ['netns', 'del', this.nameOf(number)]);
    }
    spawnSync('ip', ['link', 'del', this.bridge]);
  }

  private linkOf(number: number): string {
    return `${this.bridge}v${number}`;
  }

  private nameOf(number: number): string {
    return `${this.bridge}-${number}`;
  }
}

function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
