/** Networks: which addresses share a limit, and which are exempt from it. */
import { BlockList, isIP } from 'node:net';
import { unmapped } from './address.js';

/** The network that shares one limit: an IPv4 address, or the /64 of an IPv6 address. Empty for an unknown address. */
export function networkOf(address: string): string {
  const [text = ''] = unmapped(address).split('%');
  if (isIP(text) !== 6) return isIP(text) === 4 ? text : '';
  const [head = '', tail] = text.split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const behind = tail === '' ? [] : tail.split(':');
    // An IPv4 address at the end takes two groups.
    const length = behind.length + (behind.at(-1)?.includes('.') ? 1 : 0);
    const zeros = new Array<string>(8 - groups.length - length).fill('0');
    groups.push(...zeros, ...behind);
  }
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}

/** A list of networks, each `address/bits` or an address, that tells whether it contains an address. */
export class Networks {
  // One list for each family: Node finds every IPv4 address in `::/0`, as a mapped one.
  private readonly lists = { ipv4: new BlockList(), ipv6: new BlockList() };

  constructor(readonly of: readonly string[]) {
    for (const network of of) {
      const [address = '', bits] = network.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      if (bits === undefined) this.lists[family].addAddress(address, family);
      else this.lists[family].addSubnet(address, Number(bits), family);
    }
  }

  has(address: string): boolean {
    const [text = ''] = unmapped(address).split('%');
    const version = isIP(text);
    const family = version === 6 ? 'ipv6' : 'ipv4';
    return version !== 0 && this.lists[family].check(text, family);
  }
}

/** Names the shares of addresses, as the networks say that are exempt now. */
export class ShareNames {
  private exempt = new Networks([]);

  /** The name of an address's share; empty for an exempt or unknown address. */
  of(address: string, exempt: readonly string[]): string {
    if (exempt !== this.exempt.of) this.exempt = new Networks(exempt);
    return this.exempt.has(address) ? '' : networkOf(address);
  }
}
