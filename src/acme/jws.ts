/** Signed ACME requests (RFC 8555 §6.2): flattened JSON JWS, with the few algorithms of account keys. Pure. */
import { createHash, createHmac, createPublicKey, type KeyObject, sign } from 'node:crypto';

/** The credentials that bind an ACME account to an external account (RFC 8555 §7.3.4). */
export interface ExternalAccount {
  readonly kid: string;
  readonly key: Uint8Array;
}

export type Header = Readonly<Record<string, unknown>>;

export function base64url(data: Uint8Array | string): string {
  return Buffer.from(data).toString('base64url');
}

/** The public key as a JWK, with exactly the members of its thumbprint, in their order. */
export function jwkOf(key: KeyObject): Header {
  const { crv, e, kty, n, x, y } = createPublicKey(key as never).export({ format: 'jwk' });
  return kty === 'RSA' ? { e, kty, n } : { crv, kty, x, y };
}

/** The JWK thumbprint of a key (RFC 7638). */
export function thumbprint(key: KeyObject): string {
  return createHash('sha256')
    .update(JSON.stringify(jwkOf(key)))
    .digest('base64url');
}

/** The proof that this account answers the challenge with this token (RFC 8555 §8.1). */
export function keyAuthorization(token: string, key: KeyObject): string {
  return `${token}.${thumbprint(key)}`;
}

/** Signs a request. An empty `payload` makes it a POST-as-GET. */
export function signed(key: KeyObject, header: Header, payload: string): string {
  const { alg, hash } = algorithmOf(key);
  return flattened({ alg, ...header }, payload, (input) =>
    sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }),
  );
}

/** The account key, signed with the key of the external account. */
export function externalAccountBinding({ kid, key }: ExternalAccount, accountKey: KeyObject, url: string): Header {
  const payload = JSON.stringify(jwkOf(accountKey));
  const mac = (input: string) => createHmac('sha256', key).update(input).digest();
  return JSON.parse(flattened({ alg: 'HS256', kid, url }, payload, mac));
}

function flattened(header: Header, payload: string, seal: (input: string) => Uint8Array): string {
  const [head, body] = [base64url(JSON.stringify(header)), base64url(payload)];
  return JSON.stringify({ protected: head, payload: body, signature: base64url(seal(`${head}.${body}`)) });
}

function algorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): { alg: string; hash: string } {
  if (asymmetricKeyType === 'rsa') return { alg: 'RS256', hash: 'sha256' };
  if (asymmetricKeyDetails?.namedCurve === 'prime256v1') return { alg: 'ES256', hash: 'sha256' };
  if (asymmetricKeyDetails?.namedCurve === 'secp384r1') return { alg: 'ES384', hash: 'sha384' };
  throw new Error('the account key is neither RSA nor of the curves P-256 and P-384');
}
