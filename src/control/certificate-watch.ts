/** Ensures that the served certificate is valid: at the start, and as time passes. */
import { type ServerCertificate, timeProblem } from './certificates.js';

export interface WatchedCertificate {
  readonly current: () => ServerCertificate;
  /** Makes a new certificate if the relay's own one is not valid; absent if the operator provides it. */
  readonly renew?: (() => Promise<ServerCertificate>) | undefined;
  readonly replaced: (certificate: ServerCertificate) => void;
  readonly warn: (text: string) => void;
}

export class CertificateWatch {
  private warned: string | undefined;

  constructor(private readonly parts: WatchedCertificate) {}

  /** Checks it once. Warns about a problem once, until it changes. */
  async look(now: Date): Promise<void> {
    const { current, renew, replaced, warn } = this.parts;
    const problem = timeProblem(current(), now);
    if (problem === undefined) {
      this.warned = undefined;
    } else if (renew) {
      try {
        replaced(await renew());
      } catch (error) {
        this.say(`the relay's own certificate ${problem}, and cannot be replaced: ${(error as Error).message}`, warn);
      }
    } else {
      this.say(`the certificate ${problem}: clients refuse it; replace it`, warn);
    }
  }

  private say(text: string, warn: (text: string) => void): void {
    if (text !== this.warned) warn(text);
    this.warned = text;
  }
}
