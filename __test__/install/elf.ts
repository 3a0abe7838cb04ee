/** Reads of an ELF file what its users need for it: 64 bits, little-endian, as all our targets are. */

export interface Elf {
  readonly machine: string;
  /** The loader that a program asks for; a library asks for none. */
  readonly interpreter: string | undefined;
  /** The libraries that it is loaded with. */
  readonly needed: readonly string[];
  /** Versions of symbols that it asks libraries for, such as `GLIBC_2.28`. */
  readonly versions: readonly string[];
  /** The names of its sections. */
  readonly sections: readonly string[];
  /** What the tools have written about themselves. */
  readonly comment: string;
}

const MACHINES: Readonly<Record<number, string>> = { 62: 'x64', 183: 'arm64' };
const [DYNAMIC, VERSION_NEED] = [6, 0x6ffffffe];
const NEEDED = 1;

interface Section {
  readonly name: string;
  readonly type: number;
  /** The section of its strings. */
  readonly link: number;
  readonly data: Buffer;
}

/** Throws for what is no ELF file of this kind. */
export function readElf(file: Buffer): Elf {
  if (file.subarray(0, 6).toString('hex') !== '7f454c460201') throw new Error('this is no ELF file of 64 bits');
  const sections = readSections(file);
  const stringsOf = ({ link }: Section) => sections[link]?.data ?? Buffer.alloc(0);
  const ofType = (type: number) => sections.filter((section) => section.type === type);
  const textOf = (name: string) => sections.find((section) => section.name === name)?.data.toString('latin1');
  return {
    machine: MACHINES[file.readUInt16LE(18)] ?? 'another',
    interpreter: textOf('.interp')?.replace('\0', ''),
    needed: ofType(DYNAMIC).flatMap((section) => readNeeded(section.data, stringsOf(section))),
    versions: ofType(VERSION_NEED).flatMap((section) => readVersions(section.data, stringsOf(section))),
    sections: sections.map(({ name }) => name),
    comment: textOf('.comment') ?? '',
  };
}

function readSections(file: Buffer): Section[] {
  const [start, size, count, names] = [
    Number(file.readBigUInt64LE(40)),
    file.readUInt16LE(58),
    file.readUInt16LE(60),
    file.readUInt16LE(62),
  ];
  const headers = Array.from({ length: count }, (_, index) => file.subarray(start + index * size));
  const dataOf = (header: Buffer) => {
    const offset = Number(header.readBigUInt64LE(24));
    return file.subarray(offset, offset + Number(header.readBigUInt64LE(32)));
  };
  const strings = dataOf(headers[names] as Buffer);
  return headers.map((header) => ({
    name: stringAt(strings, header.readUInt32LE(0)),
    type: header.readUInt32LE(4),
    link: header.readUInt32LE(40),
    data: dataOf(header),
  }));
}

function readNeeded(dynamic: Buffer, strings: Buffer): string[] {
  const entries = Array.from({ length: dynamic.length / 16 }, (_, index) => dynamic.subarray(index * 16));
  return entries
    .filter((entry) => entry.readBigUInt64LE(0) === BigInt(NEEDED))
    .map((entry) => stringAt(strings, Number(entry.readBigUInt64LE(8))));
}

/** Libraries are chained by distances, and so are the versions of each. */
function readVersions(need: Buffer, strings: Buffer): string[] {
  const found: string[] = [];
  let library = 0;
  for (;;) {
    let version = library + need.readUInt32LE(library + 8);
    for (let left = need.readUInt16LE(library + 2); left > 0; left -= 1) {
      found.push(stringAt(strings, need.readUInt32LE(version + 8)));
      version += need.readUInt32LE(version + 12);
    }
    const next = need.readUInt32LE(library + 12);
    if (next === 0) return found;
    library += next;
  }
}

function stringAt(strings: Buffer, offset: number): string {
  return strings.toString('latin1', offset, strings.indexOf(0, offset));
}
