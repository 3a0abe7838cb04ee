import type { Settings } from '../config.js';
import { DnsSource, SrvSource } from '../control/mesh/dns-source.js';
import { FileSource } from '../control/mesh/file-source.js';
import type { MeshSource } from '../control/mesh/source.js';
import type { Barrier } from '../faults/barrier.js';

/** The sources of relays that the settings name. */
export function meshSources(sources: Settings['mesh']['discover'], barrier: Barrier): MeshSource[] {
  return sources.flatMap(({ dns, srv, file }): MeshSource[] => {
    if (dns) return [new DnsSource(dns, barrier)];
    if (srv) return [new SrvSource(srv, barrier)];
    return file === undefined ? [] : [new FileSource(file, barrier)];
  });
}
