/** What the relays of the differential run ask about their clients. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SocksProxy } from '../../helpers/socks-proxy.js';
import { silence, TestVerifier } from '../../helpers/verifier.js';

/** Faces that ask verifiers: a controller, failing open or closed or behind a proxy, a tailscaled, or both. */
export type VerifiedFace = 'open' | 'closed' | 'proxied' | 'socks' | 'socks-address' | 'local' | 'both';

/** A name that nothing has: only a proxy is asked for it. */
export const FAR_CONTROLLER = 'verifier.test';

/** Each face's, so that what one is asked is that face's alone. */
export class Verifiers {
  readonly #directory = mkdtempSync(join(tmpdir(), 'derpkit-verifiers-'));
  readonly #running = new Map<string, Promise<TestVerifier>>();
  readonly #proxies = new Map<VerifiedFace, SocksProxy>();

  controller(face: VerifiedFace): Promise<TestVerifier> {
    return this.listen(`${face} controller`);
  }

  local(face: VerifiedFace): Promise<TestVerifier> {
    return this.listen(`${face} local`, join(this.#directory, `${face}.sock`));
  }

  /** What the relay of a face that is behind SOCKS has asked its proxy for, since the last look. */
  targets(face: VerifiedFace): string[] {
    return this.#proxies.get(face)?.targets.splice(0) ?? [];
  }

  /** Starts those of a face, and says how its relay is told of them. */
  async start(face: VerifiedFace): Promise<{ flags: readonly string[]; env: NodeJS.ProcessEnv }> {
    const { url, port } = await this.controller(face);
    const path = join(this.#directory, `${face}.sock`);
    await this.local(face);
    const proxy = { HTTP_PROXY: `http://user:pass@127.0.0.1:${port}`, NO_PROXY: 'other.test' };
    const far = (host: string) => ['-verify-client-url', `http://${host}/verify?x=1`];
    const flags = {
      open: ['-verify-client-url', url],
      closed: ['-verify-client-url', url, '-verify-client-url-fail-open=false'],
      proxied: far(FAR_CONTROLLER),
      socks: far(FAR_CONTROLLER),
      'socks-address': far('[2001:db8::1]:8080'),
      local: ['-verify-clients', '-socket', path],
      both: ['-verify-clients', '-socket', path, '-verify-client-url', url],
    };
    if (face === 'socks' || face === 'socks-address') return { flags: flags[face], env: await this.socks(face, port) };
    return { flags: flags[face], env: face === 'proxied' ? proxy : {} };
  }

  async stop(): Promise<void> {
    for (const verifier of await Promise.all(this.#running.values())) await verifier.close();
    for (const proxy of this.#proxies.values()) await proxy.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** A name behind a proxy that wants a password, an address behind one that wants none. */
  private async socks(face: 'socks' | 'socks-address', port: number): Promise<NodeJS.ProcessEnv> {
    const isName = face === 'socks';
    const credentials = ['user', 'p@ss'] as const;
    const proxy = await SocksProxy.listen({ leadsTo: () => port, ...(isName && { credentials }) });
    this.#proxies.set(face, proxy);
    return { HTTP_PROXY: `${isName ? 'socks5h://user:p%40ss@' : 'socks5://'}127.0.0.1:${proxy.port}` };
  }

  private listen(name: string, path?: string): Promise<TestVerifier> {
    const running = this.#running.get(name) ?? TestVerifier.listen(silence, path);
    this.#running.set(name, running);
    return running;
  }
}
