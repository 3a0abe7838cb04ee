/** What the relays of the differential run ask about their clients. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silence, TestVerifier } from '../../helpers/verifier.js';

/** Faces that ask verifiers: a controller, failing open or closed or behind a proxy, a tailscaled, or both. */
export type VerifiedFace = 'open' | 'closed' | 'proxied' | 'local' | 'both';

/** A name that nothing has: only a proxy is asked for it. */
export const FAR_CONTROLLER = 'verifier.test';

/** Each face's, so that what one is asked is that face's alone. */
export class Verifiers {
  readonly #directory = mkdtempSync(join(tmpdir(), 'derpkit-verifiers-'));
  readonly #running = new Map<string, Promise<TestVerifier>>();

  controller(face: VerifiedFace): Promise<TestVerifier> {
    return this.listen(`${face} controller`);
  }

  local(face: VerifiedFace): Promise<TestVerifier> {
    return this.listen(`${face} local`, join(this.#directory, `${face}.sock`));
  }

  /** Starts those of a face, and says how its relay is told of them. */
  async start(face: VerifiedFace): Promise<{ flags: readonly string[]; env: NodeJS.ProcessEnv }> {
    const { url, port } = await this.controller(face);
    const path = join(this.#directory, `${face}.sock`);
    await this.local(face);
    const proxy = { HTTP_PROXY: `http://user:pass@127.0.0.1:${port}`, NO_PROXY: 'other.test' };
    const flags = {
      open: ['-verify-client-url', url],
      closed: ['-verify-client-url', url, '-verify-client-url-fail-open=false'],
      proxied: ['-verify-client-url', `http://${FAR_CONTROLLER}/verify?x=1`],
      local: ['-verify-clients', '-socket', path],
      both: ['-verify-clients', '-socket', path, '-verify-client-url', url],
    };
    return { flags: flags[face], env: face === 'proxied' ? proxy : {} };
  }

  async stop(): Promise<void> {
    for (const verifier of await Promise.all(this.#running.values())) await verifier.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  private listen(name: string, path?: string): Promise<TestVerifier> {
    const running = this.#running.get(name) ?? TestVerifier.listen(silence, path);
    this.#running.set(name, running);
    return running;
  }
}
