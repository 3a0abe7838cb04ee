/** Sees to it that the certificate that is served is valid now: at the start, and while clocks and years go on. */
import { type ServerCertificate, timeProblem } from './certificates.js';

export interface WatchedCertificate {
  readonly current: () => ServerCertificate;
  /** Makes another one of the relay's own, if this one is not valid; absent where the operator brings it. */
  readonly renew?: (() => Promise<ServerCertificate>) | undefined;
  readonly replaced: (certificate: ServerCertificate) => void;
  readonly warn: (text: string) => void;
}

export class CertificateWatch {
  private warned = '';

  constructor(private readonly parts: WatchedCertificate) {}

  /** Looks at it once. What is wrong is said once, until it is something else. */
  async look(now: Date): Promise<void> {
    const { current, renew, replaced, warn } = this.parts;
    const problem = timeProblem(current(), now);
    if (problem === undefined) {
      this.warned = '';
    } else if (renew) {
      try {
        replaced(await renew());
      } catch (error) {
        this.say(`the relay's own certificate ${problem}, and cannot be made anew: ${(error as Error).message}`, warn);
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
