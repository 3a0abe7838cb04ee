import type { TlsVersion } from '../plane/plane.js';

/** Why a request is refused: 400, 431, 501 and 408; and too many of them at once. */
export type RequestFailure = 'bad_request' | 'too_large' | 'bad_coding' | 'timeout' | 'too_many';

/** What the HTTP server counts. The pages that show these numbers are made before the server that serves them. */
export class HttpCounters {
  /** Requests over TLS, by TLS version. */
  readonly tlsRequests: Record<TlsVersion, number> = { '1.2': 0, '1.3': 0 };
  /** Requests over TLS that have no answer yet, by TLS version. */
  readonly tlsActive: Record<TlsVersion, number> = { '1.2': 0, '1.3': 0 };
  /** Requests that were refused for what they are. */
  readonly failures: Record<RequestFailure, number> = {
    bad_request: 0,
    too_large: 0,
    bad_coding: 0,
    timeout: 0,
    too_many: 0,
  };
  /** Connections that went over to WebSocket. */
  webSocketAccepts = 0;
}
