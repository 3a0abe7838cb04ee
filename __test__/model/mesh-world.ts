/**
 * What two relays that mesh have to do, said in as few words as it can be: it knows nothing of links, routes and tables,
 * only who is where and which relay hears of whom. Pure.
 */
import type { Name, Node } from './mesh-steps.js';

/** Something that a connection has to be sent: in order within each row. */
export interface Due {
  readonly at: Node;
  readonly name: Name;
  readonly row: string;
  readonly what: string;
}

/** A connection: of whom it was sent packets, whose leaving it is told of. */
interface Here {
  readonly sources: Set<Name>;
}

export class MeshWorld {
  private readonly nodes: readonly [Map<Name, Here>, Map<Name, Here>] = [new Map(), new Map()];
  /** Whether a relay hears of who is at the other one. */
  private readonly hears: [boolean, boolean] = [true, true];

  isAt(node: Node, name: Name): boolean {
    return this.nodes[node].has(name);
  }

  hearsOfOther(node: Node): boolean {
    return this.hears[node];
  }

  /** How many clients a relay knows to be at the other one. */
  remote(node: Node): number {
    return this.hears[node] ? this.nodes[other(node)].size : 0;
  }

  connect(node: Node, name: Name): void {
    this.nodes[node].set(name, { sources: new Set() });
  }

  close(node: Node, name: Name): Due[] {
    this.nodes[node].delete(name);
    return [...this.left(node, name), ...(this.hears[other(node)] ? this.left(other(node), name) : [])];
  }

  cut(node: Node): Due[] {
    this.hears[node] = false;
    return [...this.nodes[other(node)].keys()].flatMap((name) => this.left(node, name));
  }

  restore(node: Node): void {
    this.hears[node] = true;
  }

  /** A packet of `from`, which is at `node`. Those of one `row` come in their order. */
  send(node: Node, from: Name, to: Name, row: string, what: string, disco: boolean): Due[] {
    const at = this.whereIs(node, to);
    if (at === undefined) return disco ? [{ at: node, name: from, row: `${to} is not here`, what: '' }] : [];
    this.nodes[at].get(to)?.sources.add(from);
    return [{ at, name: to, row, what }];
  }

  /** Its own clients come first. */
  private whereIs(node: Node, name: Name): Node | undefined {
    if (this.nodes[node].has(name)) return node;
    return this.hears[node] && this.nodes[other(node)].has(name) ? other(node) : undefined;
  }

  /** The key may have left the region, as far as this relay can tell. */
  private left(node: Node, name: Name): Due[] {
    if (this.whereIs(node, name) !== undefined) return [];
    return [...this.nodes[node]].flatMap(([told, { sources }]) =>
      sources.delete(name) ? [{ at: node, name: told, row: `${name} gone`, what: '' }] : [],
    );
  }
}

export function other(node: Node): Node {
  return node === 0 ? 1 : 0;
}
