/** TLS from the outside, for those who want to break it. */
import { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import { eventually } from './wait.js';

const HEADER = 5;

/** The first record of a client, as Node makes it. */
export async function clientHello(servername?: string): Promise<Buffer> {
  const sent: Buffer[] = [];
  const transport = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      sent.push(chunk);
      done();
    },
  });
  const socket = connect({ socket: transport, rejectUnauthorized: false, ...(servername && { servername }) });
  socket.on('error', () => undefined);
  await eventually(() => sent.length > 0, 'a ClientHello');
  socket.destroy();
  return Buffer.concat(sent);
}

/** The same message in records of so many bytes each. */
export function inRecords(record: Buffer, length: number): Buffer {
  const records: Buffer[] = [];
  for (let at = HEADER; at < record.length; at += length) {
    const body = record.subarray(at, at + length);
    const header = Buffer.from(record.subarray(0, HEADER));
    header.writeUInt16BE(body.length, 3);
    records.push(header, body);
  }
  return Buffer.concat(records);
}
