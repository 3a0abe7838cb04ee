import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';

/** Addresses of this machine where connections are accepted, and nothing ever answers, until `close`. */
export async function silentAddresses(network: string, count: number, port: number) {
  const sockets = new Set<Socket>();
  const hosts = [...Array(count).keys()].map((host) => `${network}${host + 1}`);
  const servers = await Promise.all(
    hosts.map(async (host) => {
      const server = createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => {}).on('close', () => sockets.delete(socket));
      });
      await once(server.listen(port, host), 'listening');
      return server;
    }),
  );
  const close = async () => {
    const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
    for (const socket of sockets) socket.destroy();
    await Promise.all(closed);
  };
  return { hosts, close };
}
