/** Why a relay could not be asked, and what to do. */
import { reasonOf } from '../errors.js';

/** The relay that was asked. */
export interface Asked {
  readonly url: string;
  /** It is the one that `derpkit serve` runs on this machine with these variables and this settings file. */
  readonly isOwn: boolean;
  /** The name that its certificate was asked for; empty for an address. */
  readonly servername: () => string;
}

const CERT_MODE = 'DERPKIT_CERT_MODE (in a settings file, certMode)';

/** One sentence about an error that asking the relay has ended with. */
export function adviceOn(error: unknown, { url, isOwn, servername }: Asked): string {
  const { code = '', message = '' } = (error ?? {}) as NodeJS.ErrnoException;
  const why = reasonOf(error);
  if (/unrecognized.name/i.test(message)) return withoutCertificate(servername(), isOwn);
  if (/wrong.version.number|packet.length.too.long/i.test(message)) {
    return `it does not speak TLS; ${isOwn ? `${CERT_MODE} has to be that of the relay, maybe off` : 'try http://'}`;
  }
  if (url.startsWith('http:') && /"HTTP\/1\.\d (?:400|30\d) /.test(message)) {
    return `${why}; ${isOwn ? `${CERT_MODE} has to be that of the relay` : 'if it speaks TLS there, try https://'}`;
  }
  if (code === 'ECONNREFUSED' && isOwn) {
    const settings = 'which settings it runs with: --config <file>, or variables such as DERPKIT_LISTEN';
    return `${why}: nothing listens there; say with --url where the relay is, or ${settings}`;
  }
  if (/ALTNAME/.test(code)) return `${why}; --name says which name the certificate is for`;
  if (/SELF_SIGNED|UNABLE_TO_/.test(code)) {
    const local = 'leave --url out for the relay of this machine, whose certificate needs no authority';
    return `${why}; ${local}, or name the authority with NODE_EXTRA_CA_CERTS`;
  }
  return why;
}

function withoutCertificate(servername: string, isOwn: boolean): string {
  const whom = servername === '' ? 'clients that name an address' : servername;
  const advice = isOwn
    ? 'DERPKIT_HOSTNAME (in a settings file, hostname) has to be a name of its certificate; --name gives another one'
    : 'give a name of its certificate with --name <host>';
  return `the relay has no certificate for ${whom}; ${advice}`;
}
