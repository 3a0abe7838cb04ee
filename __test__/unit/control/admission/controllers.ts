/** Admission controllers that are asked, and a time for everything that may never come. */
import { onTestFinished } from 'vitest';
import { Controller, type ControllerOptions } from '../../../../src/control/admission/controller.js';
import { generateKeyPair } from '../../../../src/protocol/key.js';
import { type Say, TestVerifier } from '../../../helpers/verifier.js';

export const question = { key: generateKeyPair().publicKey, address: '192.0.2.1' };

/** Ends what hangs, before the test is over. */
export function bound(): AbortSignal {
  return AbortSignal.timeout(10_000);
}

export function controller(url: string, options: Partial<ControllerOptions> = {}): Controller {
  const made = new Controller({ url: new URL(url), headers: () => ({}), env: {}, ...options });
  onTestFinished(() => made.close());
  return made;
}

export async function server(say: Say, path?: string): Promise<TestVerifier> {
  const made = await TestVerifier.listen(say, path);
  onTestFinished(() => made.close());
  return made;
}
