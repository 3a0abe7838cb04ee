/** Gets one certificate from an ACME CA: order, authorization by a challenge, request, chain. */
import type { KeyObject } from 'node:crypto';
import {
  type AcmeClient,
  type Challenge,
  challengesOf,
  failureOf,
  type OrderRequest,
  type Resource,
} from './client.js';
import { AcmeError, acmeError } from './problem.js';
import { certificateRequest } from './request.js';

export type ChallengeType = 'http-01' | 'tls-alpn-01' | 'dns-01';

/** Answers one type of challenge, which proves control of a name. */
export interface Solver {
  readonly type: ChallengeType;
  /** Publishes the answer to a challenge. The returned function removes it. */
  present(name: string, token: string): Promise<() => Promise<void>>;
}

/**
 * Orders a certificate; resolves with it and its chain in PEM. Tries each solver once, with an order of its own, until
 * the CA accepts one. Rejects with the CA's reason for each solver.
 */
export async function issue(
  client: AcmeClient,
  request: OrderRequest,
  key: KeyObject,
  solvers: readonly Solver[],
): Promise<string> {
  const failures: AcmeError[] = [];
  for (const solver of solvers) {
    try {
      return await issueBy(client, request, key, solver);
    } catch (error) {
      if (!(error instanceof ChallengeFailure)) throw error;
      failures.push(error);
    }
  }
  const [first] = failures;
  if (!first) throw new AcmeError('', `no challenge can prove control of ${request.identifier.value}`);
  throw new AcmeError(first.type, failures.map(({ message }) => message).join('; '), first.retryAt);
}

/** A challenge failed; another type of challenge may succeed. */
class ChallengeFailure extends AcmeError {}

async function issueBy(client: AcmeClient, request: OrderRequest, key: KeyObject, solver: Solver): Promise<string> {
  const { value: name } = request.identifier;
  const order = await orderOnce(client, request);
  const authorizations = urls(order.fields.authorizations);
  try {
    for (const url of authorizations) await authorize(client, url, name, solver);
  } catch (error) {
    await Promise.all(authorizations.map((url) => client.deactivate(url).catch(() => undefined)));
    throw error;
  }
  const what = `getting the certificate for ${name}`;
  const ready = await client.settled(what, order.url, ['pending']);
  if (ready.status === 'ready') await client.finalize(what, ready, certificateRequest(name, key));
  const done = await client.settled(what, order.url, ['ready', 'processing']);
  if (done.status !== 'valid') throw failureOf(what, done);
  return client.certificate(what, done);
}

/**
 * Places an order. A certificate can be named as replaced only once; if the CA refuses that, orders without it (RFC
 * 9773 §5).
 */
async function orderOnce(client: AcmeClient, request: OrderRequest): Promise<Resource> {
  try {
    return await client.order(request);
  } catch (error) {
    const isReplaced = error instanceof AcmeError && /^(?:alreadyReplaced|conflict|malformed)$/.test(error.type);
    if (!request.replaces || !isReplaced) throw error;
    return client.order({ ...request, replaces: undefined });
  }
}

async function authorize(client: AcmeClient, url: string, name: string, solver: Solver): Promise<void> {
  const what = `proving control of ${name} by ${solver.type}`;
  const authorization = await client.get(what, url);
  if (authorization.status === 'valid') return;
  const challenge = challengesOf(authorization).find(({ type }) => type === solver.type);
  if (!challenge) throw new ChallengeFailure('', `${what}: the CA does not offer that`);
  const withdraw = await solver.present(name, challenge.token).catch((error: Error) => {
    throw new ChallengeFailure('', `${what}: ${error.message}`);
  });
  try {
    await client.accept(challenge);
    const settled = await client.settled(what, url, ['pending', 'processing']);
    if (settled.status !== 'valid') throw challengeFailure(what, settled, challenge);
  } finally {
    await withdraw();
  }
}

function challengeFailure(what: string, authorization: Resource, { type }: Challenge): ChallengeFailure {
  const failed = challengesOf(authorization).find((challenge) => challenge.type === type && challenge.error);
  const error = failed ? acmeError(what, failed.error) : failureOf(what, authorization);
  return new ChallengeFailure(error.type, error.message, error.retryAt);
}

function urls(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((url): url is string => typeof url === 'string').slice(0, 10) : [];
}
