/** Reads pcapng by the layout of its specification, and refuses everything that breaks it. */

export interface Block {
  readonly type: 'section' | 'interface' | 'names' | 'statistics' | 'packet';
  readonly options: ReadonlyMap<number, Buffer>;
  readonly version?: string;
  readonly length?: bigint;
  readonly linkType?: number;
  readonly snapLength?: number;
  readonly names?: readonly (readonly [address: Buffer, name: string])[];
  readonly microseconds?: number;
  readonly captured?: number;
  readonly original?: number;
  readonly data?: Buffer;
}

/** The blocks of a whole file; each has to be complete. */
export function blocksOf(file: Buffer): Block[] {
  const blocks: Block[] = [];
  for (let at = 0; at < file.length; ) {
    const length = file.readUInt32LE(at + 4);
    if (length % 4 !== 0 || length < 12 || at + length > file.length)
      throw new Error(`a block of ${length} bytes at ${at}`);
    if (file.readUInt32LE(at + length - 4) !== length) throw new Error(`the block at ${at} has two lengths`);
    blocks.push(blockOf(file.readUInt32LE(at), file.subarray(at + 8, at + length - 4)));
    at += length;
  }
  return blocks;
}

function blockOf(type: number, body: Buffer): Block {
  switch (type) {
    case 0x0a0d0d0a: {
      if (body.readUInt32LE(0) !== 0x1a2b3c4d) throw new Error('an unknown order of bytes');
      const version = `${body.readUInt16LE(4)}.${body.readUInt16LE(6)}`;
      return { type: 'section', version, length: body.readBigInt64LE(8), options: optionsOf(body.subarray(16)) };
    }
    case 1: {
      if (body.readUInt16LE(2) !== 0) throw new Error('reserved bytes are in use');
      const [linkType, snapLength] = [body.readUInt16LE(0), body.readUInt32LE(4)];
      return { type: 'interface', linkType, snapLength, options: optionsOf(body.subarray(8)) };
    }
    case 4: {
      const records = listOf(body);
      const names = records.map(([kind, value]): [Buffer, string] => {
        if (kind !== 2 || value.at(-1) !== 0) throw new Error(`a record of the kind ${kind}`);
        return [value.subarray(0, 16), value.subarray(16, -1).toString()];
      });
      return { type: 'names', names, options: new Map() };
    }
    case 5:
      return { type: 'statistics', microseconds: timeOf(body), options: optionsOf(body.subarray(12)) };
    case 6: {
      const [captured, original] = [body.readUInt32LE(12), body.readUInt32LE(16)];
      const end = 20 + captured + (-captured & 3);
      if (body.subarray(20 + captured, end).some((byte) => byte !== 0))
        throw new Error('a packet is not padded with 0');
      const data = body.subarray(20, 20 + captured);
      return {
        type: 'packet',
        microseconds: timeOf(body),
        captured,
        original,
        data,
        options: optionsOf(body.subarray(end)),
      };
    }
    default:
      throw new Error(`a block of the type ${type}`);
  }
}

function timeOf(body: Buffer): number {
  if (body.readUInt32LE(0) !== 0) throw new Error(`there is no interface ${body.readUInt32LE(0)}`);
  return body.readUInt32LE(4) * 2 ** 32 + body.readUInt32LE(8);
}

function optionsOf(bytes: Buffer): ReadonlyMap<number, Buffer> {
  return new Map(bytes.length === 0 ? [] : listOf(bytes));
}

/** Options or records, up to their end, which has to be the end of the bytes. */
function listOf(bytes: Buffer): [code: number, value: Buffer][] {
  const found: [number, Buffer][] = [];
  for (let at = 0; ; ) {
    const [code, length] = [bytes.readUInt16LE(at), bytes.readUInt16LE(at + 2)];
    if (code === 0) {
      if (length !== 0 || at + 4 !== bytes.length)
        throw new Error('the end of the options is not the end of the block');
      return found;
    }
    found.push([code, bytes.subarray(at + 4, at + 4 + length)]);
    at += 4 + length + (-length & 3);
  }
}

/** The sum over the pseudo header and the datagram of an IPv6 packet: 0xffff if its checksum is right. */
export function sumOfDatagram(packet: Buffer): number {
  const datagram = packet.subarray(40);
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(datagram.length, 0);
  pseudo.writeUInt32BE(packet.readUInt8(6), 4);
  const all = Buffer.concat([packet.subarray(8, 40), pseudo, datagram, Buffer.alloc(datagram.length % 2)]);
  let sum = 0;
  for (let at = 0; at < all.length; at += 2) sum += all.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
