/** The certificate that a relay has read, or made for itself, and that it is valid while the relay runs. */
import type { Settings } from './config.js';
import { CertificateWatch } from './control/certificate-watch.js';
import type { ServerCertificate } from './control/certificates.js';
import type { Logger } from './logger.js';
import { loadCertificate } from './materials.js';

/** Between looks at it. */
const LOOKS = 60 * 60 * 1000;

export class OwnCertificate {
  private looks: NodeJS.Timeout | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly logger: Logger,
    /** The one in force. */
    public current: ServerCertificate,
    private readonly replaced: () => void,
  ) {}

  /** Looks at it now, and every hour. */
  async watch(): Promise<void> {
    const { settings } = this;
    const warn = (text: string) => this.logger.warn(text);
    const isOurs = settings.certificate === undefined && settings.certMode === 'self-signed';
    const watch = new CertificateWatch({
      current: () => this.current,
      renew: isOurs ? async () => (await loadCertificate(settings, warn)) as ServerCertificate : undefined,
      replaced: (certificate) => {
        this.current = certificate;
        this.replaced();
      },
      warn,
    });
    this.looks = setInterval(() => void watch.look(new Date()), LOOKS).unref();
    await watch.look(new Date());
  }

  close(): void {
    clearInterval(this.looks);
  }
}
