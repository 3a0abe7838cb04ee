/** A small DNS server, for tests and for a fleet on one machine: names that change while it runs, over UDP and TCP. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import packet from 'dns-packet';

/** Below this many bytes an answer fits into a datagram. */
const DATAGRAM = 1232;
const RCODES = { noerror: 0, servfail: 2, nxdomain: 3 };

export class DnsServer {
  /** What a name is, by name; a name that is not there does not exist. */
  #names = new Map();
  #udp = createSocket('udp4');
  #tcp = createServer((socket) => this.#serve(socket));
  #sockets = new Set();
  /** Questions so far, of every name. */
  questions = 0;
  port = 0;

  /** Opens it on 127.0.0.1, at a free port unless one is given. */
  static async start(port = 0) {
    const server = new DnsServer();
    server.#tcp.listen(port, '127.0.0.1');
    await once(server.#tcp, 'listening');
    ({ port: server.port } = server.#tcp.address());
    server.#udp.on('message', (message, from) => {
      const answer = server.#answer(message, DATAGRAM);
      if (answer) server.#udp.send(answer, from.port, from.address);
    });
    server.#udp.bind(server.port, '127.0.0.1');
    await once(server.#udp, 'listening');
    return server;
  }

  get address() {
    return `127.0.0.1:${this.port}`;
  }

  /** Gives a name addresses of both families, with this TTL in seconds. */
  set(name, addresses, ttl = 1) {
    const records = addresses.map((address) => ({
      name,
      type: address.includes(':') ? 'AAAA' : 'A',
      ttl,
      data: address,
    }));
    this.#names.set(name, { records });
  }

  /** Gives a name SRV records of hosts and ports. */
  setServices(name, services, ttl = 1) {
    const records = services.map(({ host, port }) => ({
      ...{ name, type: 'SRV', ttl },
      data: { target: host, port, priority: 0, weight: 0 },
    }));
    this.#names.set(name, { records });
  }

  /** The name does not exist. */
  delete(name) {
    this.#names.delete(name);
  }

  /** The server fails for this name (`types`: for these questions): with an answer that says so, or with none. */
  fail(name, how = 'servfail', types = ['A', 'AAAA', 'SRV']) {
    this.#names.set(name, { records: [], ...this.#names.get(name), how, types });
  }

  async close() {
    this.#udp.close();
    this.#tcp.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#tcp, 'close');
  }

  /** The answer to a question in at most so many bytes; undefined where there is none. */
  #answer(message, longest) {
    let question;
    try {
      question = packet.decode(message);
    } catch {
      return undefined;
    }
    const [{ name, type } = {}] = question.questions;
    const known = this.#names.get(name);
    this.questions += 1;
    const fails = known?.types?.includes(type);
    if (fails && known.how === 'silent') return undefined;
    const rcode = fails ? RCODES.servfail : known ? RCODES.noerror : RCODES.nxdomain;
    const answers = fails ? [] : (known?.records ?? []).filter((record) => record.type === type);
    const flags = packet.AUTHORITATIVE_ANSWER | packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | rcode;
    const reply = { id: question.id, type: 'response', flags, questions: question.questions, answers };
    const encoded = packet.encode(reply);
    if (encoded.length <= longest) return encoded;
    return packet.encode({ ...reply, flags: flags | packet.TRUNCATED_RESPONSE, answers: [] });
  }

  #serve(socket) {
    this.#sockets.add(socket);
    let bytes = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
        const length = bytes.readUInt16BE(0);
        const answer = this.#answer(bytes.subarray(2, 2 + length), 65_535);
        bytes = bytes.subarray(2 + length);
        if (!answer) continue;
        const head = Buffer.alloc(2);
        head.writeUInt16BE(answer.length);
        socket.write(Buffer.concat([head, answer]));
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }
}
