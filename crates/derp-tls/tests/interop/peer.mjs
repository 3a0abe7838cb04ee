// The other side of node.rs: a client that hears its echo, or a server that echoes one connection.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';

const [role, port, servername, version, cipher, root, chain, key] = process.argv.slice(2);
const settings = { minVersion: version, maxVersion: version, ciphers: cipher, ALPNProtocols: ['h2', 'http/1.1'] };

if (role === 'client') {
  const socket = tls.connect({
    ...settings,
    host: '127.0.0.1',
    port: Number(port),
    servername,
    ca: readFileSync(root),
  });
  const said = randomBytes(300_000);
  const heard = [];
  let length = 0;
  socket.on('secureConnect', () => {
    process.stdout.write(
      `agreed on ${socket.getCipher().standardName === cipher ? cipher : socket.getCipher().name}\n`,
    );
    // Records of every size that Node sends.
    socket.write(said.subarray(0, 100_000));
    socket.setMaxSendFragment(600);
    socket.write(said.subarray(100_000));
  });
  socket.on('data', (bytes) => {
    heard.push(bytes);
    length += bytes.length;
    if (length === said.length) socket.end();
  });
  socket.on('close', () => assert.ok(Buffer.concat(heard).equals(said)));
} else {
  settings.ALPNProtocols = ['http/1.1'];
  const server = tls.createServer({ ...settings, cert: readFileSync(chain), key: readFileSync(key) }, (socket) => {
    socket.setMaxSendFragment(5000);
    socket.pipe(socket);
    socket.on('close', () => server.close());
  });
  server.listen(0, '127.0.0.1', () => process.stdout.write(`port ${server.address().port}\n`));
}
