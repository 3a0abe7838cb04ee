/** Makes the rules of a relay's gate, and what it asks, from the settings. */
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Settings } from '../config.js';
import { Controller } from '../control/admission/controller.js';
import { Desk } from '../control/admission/desk.js';
import type { GateEvents, GateOptions } from '../control/admission/gate.js';
import { HeadersFile } from '../control/admission/headers-file.js';
import type { OnAdmit } from '../control/admission/hook.js';
import { KeyFile } from '../control/admission/key-file.js';
import { Listed } from '../control/admission/listed.js';
import { localTailscaled } from '../control/admission/local-tailscaled.js';
import { Tailscaled } from '../control/admission/tailscaled.js';
import type { Verifier } from '../control/admission/verifier.js';
import { openAdmission } from '../control/admit.js';
import { loadRoots } from '../control/roots.js';
import { type Problem, reasonOf } from '../errors.js';

type VerifierSettings = Settings['admission']['verifiers'][number];

/** One verifier with its options. */
interface Source {
  readonly verifier: Verifier;
  readonly timeout: number;
  readonly failOpen: boolean;
}

/** The files of admission, loaded, and the verifiers made from the settings. */
export interface AdmissionMaterials {
  readonly sources: readonly Source[];
  readonly lists: readonly KeyFile[];
  readonly headers: readonly HeadersFile[];
  readonly deny: KeyFile | undefined;
}

/** derper's deadline for an answer of an admission controller, in milliseconds. */
const TIMEOUT = 5000;

/** Reads the files of admission. Adds every fault in them to `problems`. */
export async function loadAdmission(settings: Settings, problems: Problem[]): Promise<AdmissionMaterials> {
  const { verifiers, deny: denied } = settings.admission;
  const lists: KeyFile[] = [];
  const headers: HeadersFile[] = [];
  const sources: Source[] = [];
  const load = async <T extends { load(): Promise<void> }>(path: string, name: string, file: T): Promise<T> => {
    await file.load().catch((error) => problems.push({ path, message: `${name}: ${reasonOf(error)}` }));
    return file;
  };
  let secureContext: Promise<SecureContext> | undefined;
  for (const [index, given] of verifiers.entries()) {
    const path = `admission.verifiers.${index}`;
    const { timeout = TIMEOUT, failOpen = false } = given;
    const add = (verifier: Verifier) => sources.push({ verifier, timeout, failOpen });
    if (given.tailscaled === true) add(localTailscaled());
    else for (const socket of given.tailscaled ?? []) add(new Tailscaled({ socket }));
    if (given.keys !== undefined) {
      const file = await load(`${path}.keys`, given.keys, new KeyFile(given.keys));
      lists.push(file);
      add(new Listed(file));
    }
    if (given.url !== undefined) {
      const file = given.headersFile === undefined ? undefined : new HeadersFile(given.headersFile);
      if (file) headers.push(await load(`${path}.headersFile`, file.path, file));
      secureContext ??= trusted();
      const context = await secureContext;
      try {
        add(controllerOf(given, given.url, file, context));
      } catch (error) {
        // A variable of the environment names what is no proxy.
        problems.push({ path: `${path}.url`, message: reasonOf(error) });
      }
    }
  }
  const deny =
    denied.keys === undefined ? undefined : await load('admission.deny.keys', denied.keys, new KeyFile(denied.keys));
  return { sources, lists, headers, deny };
}

/** What the rules of a gate are made of, beside settings and files. */
export interface GateParts {
  readonly meshKey: string | undefined;
  readonly onAdmit: OnAdmit | undefined;
  readonly hookTimeout: number;
  readonly log: GateEvents['log'];
}

/** The rules of a gate. */
export function gateOptions(
  settings: Settings,
  { sources, lists, deny }: AdmissionMaterials,
  { meshKey, onAdmit, hookTimeout, log }: GateParts,
): GateOptions {
  const { policy, cache, recheck, questions: atOnce, deny: denied } = settings.admission;
  const desks = named(sources).map(
    ([name, { verifier, timeout, failOpen }]) =>
      new Desk({ name, verifier, timeout, failOpen, cache, atOnce, now: () => performance.now(), log }),
  );
  const deniedApps = [...settings.disallowAppNames, ...denied.apps];
  const rights = openAdmission(meshKey, deniedApps);
  const { grace } = cache;
  return { rights, deniedApps, policy, desks, lists, deny, recheck, grace, onAdmit, hookTimeout };
}

function controllerOf(
  given: VerifierSettings,
  text: string,
  file: HeadersFile | undefined,
  secureContext: SecureContext,
): Verifier {
  const headers = () => ({ ...given.headers, ...file?.headers });
  return new Controller({ url: new URL(text), headers, secureContext, env: process.env });
}

/** Trusts the authorities that Go would trust. */
async function trusted(): Promise<SecureContext> {
  const { certificates } = await loadRoots(process.env);
  const pem = (der: Uint8Array) =>
    `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`;
  return createSecureContext({ ca: certificates.map(pem) });
}

/** Names the verifiers; if several have one name, appends numbers. */
function named(sources: readonly Source[]): [name: string, source: Source][] {
  const seen = new Map<string, number>();
  return sources.map((source) => {
    const { name } = source.verifier;
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    return [times === 1 ? name : `${name} (${times})`, source];
  });
}
