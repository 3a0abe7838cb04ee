/**
 * Serves the example page, and the NaCl library that it needs, to this machine alone.
 *
 *     npm run build
 *     node dist/cli/derpkit.js serve --listen 127.0.0.1:3340 --cert-mode off
 *     node examples/browser/serve.mjs 8000
 *
 * Then open http://127.0.0.1:8000/?relay=ws://127.0.0.1:3340/derp in two tabs.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

const FILES = new Map([
  ['/', ['index.html', 'text/html; charset=utf-8']],
  ['/page.js', ['page.js', 'text/javascript']],
  ['/derp-client.js', ['derp-client.js', 'text/javascript']],
  ['/nacl.js', ['../../node_modules/tweetnacl/nacl-fast.min.js', 'text/javascript']],
]);

/** Resolves with the server when it listens; port 0 is any that is free. */
export async function serve(port) {
  const server = createServer((request, response) => {
    const [name, type] = FILES.get(new URL(request.url, 'http://localhost').pathname) ?? [];
    if (name === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'Content-Type': type }).end(readFileSync(new URL(name, import.meta.url)));
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return server;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await serve(Number(process.argv[2] ?? 8000));
  console.log(`http://127.0.0.1:${server.address().port}/`);
}
