/** An operator, an account and a user of NATS, as `nsc` makes them: the server's configuration, and the user's credentials. */
import { createHash } from 'node:crypto';
import { nkeys } from '@nats-io/transport-node';

type Pair = ReturnType<typeof nkeys.createUser>;

/** `subject` is all that the user may publish and listen to. */
export function natsCredentials(subject: string): { config: string; creds: string } {
  const [operator, account, user] = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createUser()] as const;
  const unlimited = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
  const only = { allow: [subject] };
  const operatorJwt = token(operator, operator, { type: 'operator' });
  const accountJwt = token(account, operator, { type: 'account', limits: unlimited });
  const userJwt = token(user, account, { type: 'user', pub: only, sub: only, subs: -1, data: -1, payload: -1 });
  const seed = new TextDecoder().decode(user.getSeed());
  return {
    config: `operator: ${operatorJwt}
resolver: MEMORY
resolver_preload: { ${account.getPublicKey()}: ${accountJwt} }
`,
    creds: `-----BEGIN NATS USER JWT-----
${userJwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------
`,
  };
}

function token(subject: Pair, issuer: Pair, nats: object): string {
  const claims = { iat: Math.floor(Date.now() / 1000), iss: issuer.getPublicKey(), sub: subject.getPublicKey() };
  const body = { ...claims, name: 'derpkit', nats: { ...nats, version: 2 } };
  const jti = createHash('sha256').update(JSON.stringify(body)).digest('hex');
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode({ typ: 'JWT', alg: 'ed25519-nkey' })}.${encode({ ...body, jti })}`;
  return `${signed}.${Buffer.from(issuer.sign(Buffer.from(signed))).toString('base64url')}`;
}
