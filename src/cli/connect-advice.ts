/** Why a relay could not be asked, and what to do. */
import { reasonOf } from '../errors.js';

/** The relay that was asked. */
export interface Asked {
  readonly url: string;
  /** It is the one that `derpkit serve` runs on this machine with these variables. */
  readonly isOwn: boolean;
  /** The name that its certificate was asked for; empty for an address. */
  readonly servername: () => string;
}

/** One sentence about an error that asking the relay has ended with. */
export function adviceOn(error: unknown, { url, isOwn, servername }: Asked): string {
  const { code = '', message = '' } = (error ?? {}) as NodeJS.ErrnoException;
  const why = reasonOf(error);
  if (/unrecognized.name/i.test(message)) return withoutCertificate(servername(), isOwn);
  if (/wrong.version.number|packet.length.too.long/i.test(message)) {
    return `it does not speak TLS; ${isOwn ? 'DERPKIT_CERT_MODE has to be that of the relay, maybe off' : 'try http://'}`;
  }
  if (url.startsWith('http:') && /"HTTP\/1\.\d (?:400|30\d) /.test(message)) {
    return `${why}; ${isOwn ? 'DERPKIT_CERT_MODE has to be that of the relay' : 'if it speaks TLS there, try https://'}`;
  }
  if (code === 'ECONNREFUSED' && isOwn) {
    const variables = 'with the variables that it runs with, such as DERPKIT_LISTEN';
    return `${why}: nothing listens there; say with --url where the relay is, or ${variables}`;
  }
  if (/SELF_SIGNED|UNABLE_TO_|ALTNAME/.test(code)) {
    const local = 'leave --url out for the relay of this machine, whose certificate needs no authority';
    return `${why}; ${local}, or name the authority with NODE_EXTRA_CA_CERTS`;
  }
  return why;
}

function withoutCertificate(servername: string, isOwn: boolean): string {
  const whom = servername === '' ? 'clients that name an address' : servername;
  const advice = isOwn
    ? 'DERPKIT_HOSTNAME has to be a name of its certificate'
    : 'give a name of its certificate with --url https://NAME:PORT, or leave --url out and set DERPKIT_HOSTNAME to one';
  return `the relay has no certificate for ${whom}; ${advice}`;
}
