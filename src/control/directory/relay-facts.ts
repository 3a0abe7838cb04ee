/** What a relay says about itself when another one asks. Pure. */
import { loadIn, objectIn } from './announced.js';
import type { RelayFacts, SettingValue } from './directory.js';

/** The longest answer, in bytes; a relay has some 50 settings, which take 2,000. */
const LONGEST = 16_384;
const MOST_SETTINGS = 256;
/** The longest text of a setting. */
const LONGEST_TEXT = 256;

export function writeFacts({ load, version, settings }: RelayFacts): Buffer {
  return Buffer.from(JSON.stringify({ load, version, settings }));
}

/** An answer, checked in every field; `undefined` if one of them is wrong. */
export function readFacts(body: Buffer): RelayFacts | undefined {
  const given = body.length <= LONGEST ? objectIn(body) : undefined;
  const load = loadIn(given?.load);
  const settings = settingsIn(given?.settings);
  const { version } = given ?? {};
  if (!load || !settings || typeof version !== 'string' || !/^[\w.+-]{1,64}$/.test(version)) return undefined;
  return { load, version, settings };
}

function settingsIn(given: unknown): RelayFacts['settings'] | undefined {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return undefined;
  const entries = Object.entries(given);
  if (entries.length > MOST_SETTINGS) return undefined;
  if (!entries.every(([name, value]) => /^\w[\w.]{0,63}$/.test(name) && isValue(value))) return undefined;
  return Object.fromEntries(entries);
}

function isValue(given: unknown): given is SettingValue {
  if (typeof given === 'string') return given.length <= LONGEST_TEXT;
  return typeof given === 'boolean' || given === null || (typeof given === 'number' && Number.isFinite(given));
}
