/** Reads the compose file of the fleet, with its variables filled in, without compose. A test compares it with compose's reading. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { root } from '../ensure.mjs';

export const FLEET_FILE = join(root, 'packaging/compose/fleet.yaml');

/** The services with their environments and addresses, and the text of each config. */
export function readFleet(variables) {
  const text = readFileSync(FLEET_FILE, 'utf8').replace(/\$\{(\w+)(?::(-|\?)([^}]*))?\}/g, (_, name, kind, rest) => {
    if (variables[name] !== undefined) return variables[name];
    if (kind === '?') throw new Error(`${FLEET_FILE} needs ${name}: ${rest}`);
    return rest ?? '';
  });
  const { services, configs } = parse(text, { merge: true });
  return {
    services: Object.entries(services).map(([name, service]) => ({
      name,
      environment: service.environment ?? {},
      address: service.networks.fleet.ipv4_address,
      aliases: service.networks.fleet.aliases ?? [],
      configs: service.configs ?? [],
    })),
    configs: Object.fromEntries(Object.entries(configs).map(([name, { content }]) => [name, content])),
  };
}
