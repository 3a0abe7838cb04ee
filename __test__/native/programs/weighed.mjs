/**
 * A relay over TLS that is weighed from outside: what JavaScript could let go of, it has let go of. Prints the port. The
 * argument is where it keeps its certificate. Started with `--expose-gc`.
 */
import { createRelay } from '../../../dist/index.js';

const relay = createRelay({
  listen: '127.0.0.1:0',
  certMode: 'self-signed',
  hostname: 'localhost',
  httpPort: -1,
  stun: false,
  plane: 'native',
  logLevel: 'silent',
  dataDir: process.argv[2],
});
await relay.start();
setInterval(() => globalThis.gc(), 500).unref();
console.log(`port ${relay.address.derp.port}`);
