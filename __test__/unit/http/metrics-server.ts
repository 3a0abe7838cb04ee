import type { Barrier } from '../../../src/faults/barrier.js';
import { HttpCounters } from '../../../src/http/counters.js';
import { MetricsSite, type MetricsSource } from '../../../src/http/metrics-site.js';
import { HttpServer } from '../../../src/http/server.js';
import { Visitors } from '../../../src/http/visitors.js';
import { STRICT } from '../../helpers/strict-barrier.js';
import { nodeKey, vectors } from '../vectors.js';

/** The HTTP server behind the metrics listener, of a relay that is ready, has one metric and needs no token. */
export function metricsServer(source: Partial<MetricsSource> = {}, barrier: Barrier = STRICT): HttpServer {
  const site = new MetricsSite({
    metrics: (asOpenMetrics) =>
      asOpenMetrics ? { contentType: 'open', text: 'o 1\n' } : { contentType: 'text', text: 't 1\n' },
    unready: () => [],
    isToken: undefined,
    isOurs: (host) => host === 'relay.test',
    ...source,
  });
  const limits = () => ({ duplexes: 100, perAddress: 100, exempt: [] });
  const options = {
    barrier,
    derp: false,
    counters: new HttpCounters(),
    visitors: new Visitors(limits, () => true),
    serverKey: nodeKey(vectors.keys.values.server?.public),
    adopt: () => {},
    onFailure: () => {},
  };
  return new HttpServer(options, site);
}
