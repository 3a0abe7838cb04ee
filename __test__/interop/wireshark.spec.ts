/** Wireshark's programs on what `/debug/tap` writes. Debian has them in `tshark`. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { formatNodeKey, generateKeyPair } from '../../src/protocol/key.js';
import { DerpClient, discoPacket } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { blocksOf } from '../helpers/pcapng.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

const isThere = spawnSync('tshark', ['--version']).status === 0 && spawnSync('capinfos', ['--version']).status === 0;

/** A transport message of WireGuard, as a client sends it. */
function wireguard(length: number): Buffer {
  const message = Buffer.alloc(length, 0x5a);
  message.set([4, 0, 0, 0, 1, 2, 3, 4]);
  return message;
}

/** What the tap writes while `act` sends packets, until there are `count`. */
async function capture(relay: TestRelay, count: number, act: () => Promise<void>): Promise<string> {
  const { host, port } = relay.target();
  const headers = { accept: 'application/x-pcapng' };
  const chunks: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    const asked = request({ host, port, path: '/debug/tap?payload=65536', headers, agent: false }, (response) => {
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {});
      resolve();
    });
    asked.on('error', reject).end();
    onTestFinished(() => void asked.destroy());
  });
  await relay.commandsDone();
  await act();
  const packets = () => blocksOf(Buffer.concat(chunks)).filter(({ type }) => type === 'packet').length;
  await eventually(
    () => packets() === count,
    () => `${count} packets, not ${packets()}`,
  );
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-wireshark-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'tap.pcapng');
  writeFileSync(path, Buffer.concat(chunks));
  return path;
}

function tshark(...args: string[]): string[] {
  const text = execFileSync('tshark', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return text.split('\n').filter((line) => line !== '');
}

describe.skipIf(!isThere).each(LANES)('a capture file in Wireshark, $name', (lane) => {
  it('Wireshark shows WireGuard between clients, which address has which key, and what was dropped', async () => {
    const relay = await startRelay(lane);
    const [a, b] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const nobody = generateKeyPair().publicKey;
    const path = await capture(relay, 4, async () => {
      a.sendPacket(b.key, wireguard(148));
      a.sendPacket(b.key, discoPacket(1));
      a.sendPacket(nobody, wireguard(64));
      a.sendPacket(b.key, Buffer.alloc(65_536, 7));
      await a.fence();
    });

    const about = execFileSync('capinfos', ['-TmQ', '-Ecl', path], { encoding: 'utf8' });
    expect(about).toMatch(/,"?rawip"?,/);
    const info = execFileSync('capinfos', [path], { encoding: 'utf8' });
    expect(info).toMatch(/^Number of packets:\s+4$/m);
    expect(info).toMatch(/^Capture application:\s+derpkit$/m);
    expect(info).toMatch(/^Number of resolved IPv6 addresses in file: 3$/m);

    // The checksums are looked at, which Wireshark does not do by itself.
    const fields = [
      'frame.protocols',
      'udp.port',
      'frame.len',
      'udp.checksum.status',
      'frame.comment',
      'ipv6.src_host',
    ];
    const shown = tshark(
      '-r',
      path,
      '-N',
      'n',
      '-o',
      'udp.check_checksum:TRUE',
      '-T',
      'fields',
      ...fields.flatMap((field) => ['-e', field]),
    );
    // Wireshark shows no more of a name.
    const name = formatNodeKey(a.key).slice(0, 63);
    expect(shown.map((line) => line.split('\t'))).toEqual([
      [expect.stringMatching(/:ipv6:udp:wg$/), '41641,41641', '196', '1', '', name],
      [expect.stringMatching(/:ipv6:udp(?::data)?$/), '41642,41642', expect.any(String), '1', '', name],
      [expect.stringMatching(/:ipv6:udp:wg$/), '41641,41641', '112', '1', 'dropped: unknown_dest', name],
      [expect.stringMatching(/:ipv6:udp(?::data)?$/), '41641,41641', '65584', expect.any(String), '', name],
    ]);
    // Nothing that Wireshark takes for an error or a malformed packet, but for the length of the longest packet.
    expect(
      tshark(
        '-r',
        path,
        '-Y',
        'frame.number < 4 && _ws.expert.severity >= 6291456',
        '-T',
        'fields',
        '-e',
        '_ws.expert.message',
      ),
    ).toEqual([]);
    expect(tshark('-r', path, '-Y', '_ws.malformed')).toEqual([]);
  });
});
