import type { Settings } from '../config.js';
import { DnsSource, SrvSource } from '../control/mesh/dns-source.js';
import { FileSource } from '../control/mesh/file-source.js';
import type { MeshSource } from '../control/mesh/source.js';
import type { Barrier } from '../faults/barrier.js';

/** The sources of relays that the settings name. `inNats` makes the one that announces this relay, too. */
export function meshSources(
  sources: Settings['mesh']['discover'],
  barrier: Barrier,
  inNats: () => MeshSource,
): MeshSource[] {
  return sources.flatMap(({ dns, srv, file, nats }): MeshSource[] => {
    if (dns) return [new DnsSource(dns, barrier)];
    if (srv) return [new SrvSource(srv, barrier)];
    if (nats) return [inNats()];
    return file === undefined ? [] : [new FileSource(file, barrier)];
  });
}
