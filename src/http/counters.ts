import type { TlsVersion } from '../plane/plane.js';

/** What the HTTP server counts. The pages that show these numbers are made before the server that serves them. */
export class HttpCounters {
  /** Requests over TLS, by the version of TLS. */
  readonly tlsRequests: Record<TlsVersion, number> = { '1.2': 0, '1.3': 0 };
  /** Requests over TLS that are not answered yet. */
  readonly tlsActive: Record<TlsVersion, number> = { '1.2': 0, '1.3': 0 };
  /** Connections that went over to WebSocket. */
  webSocketAccepts = 0;
}
