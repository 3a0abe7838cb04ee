/**
 * Groups of settings: `limits: { connections: 100 }` in files and in `createRelay` is the setting `limits.connections`.
 * This file reads a schema with such groups, whatever its settings are.
 */
import { z } from 'zod';
import type { Problem } from '../errors.js';
import { nearest } from './typos.js';
import { OBJECTS } from './values.js';

export type Shape = Readonly<Record<string, z.ZodType>>;

/** A group of settings under one name. Every setting in it is optional, and so is the group. */
export function group<Fields extends Shape>(fields: Fields) {
  // zod's types cannot express the schema of a generic shape, so the casts state it.
  const object = z.object(fields as never) as unknown as z.ZodObject<Fields>;
  return object.prefault({} as never);
}

export type Group<Fields extends Shape> = ReturnType<typeof group<Fields>>;

/** The names of all settings of a shape; those in groups contain a dot. */
export type NameIn<Fields extends Shape> = {
  [Name in keyof Fields & string]: Fields[Name] extends z.ZodPrefault<z.ZodObject<infer Inner extends Shape>>
    ? `${Name}.${NameIn<Inner>}`
    : Name;
}[keyof Fields & string];

/** A setting, as command lines and other sources of settings need to know it. */
export interface SettingInfo<Name extends string = string> {
  /** Its name; inside a group it has a dot: `limits.connections`. */
  readonly name: Name;
  /** Its line in `--help`. */
  readonly description: string;
  /** The default as text; empty if there is none. */
  readonly fallback: string;
  /**
   * `boolean`; `objects`: a list of objects, from a file or as JSON in a variable, without a flag; `value`: any other.
   */
  readonly kind: 'boolean' | 'value' | 'objects';
}

/** Every setting of a shape, in its order. */
export function settingsOf<Fields extends Shape>(shape: Fields, before = ''): SettingInfo<NameIn<Fields>>[] {
  const all = Object.entries(shape).flatMap(([name, field]): SettingInfo[] => {
    const inner = shapeOf(field);
    if (inner) return settingsOf(inner, `${before}${name}.`);
    const fallback = defaultOf(field);
    const kind = isObjects(field) ? 'objects' : typeof fallback === 'boolean' ? 'boolean' : 'value';
    const shown = kind === 'objects' ? '' : String(fallback ?? '');
    return [{ name: before + name, description: field.description ?? '', fallback: shown, kind }];
  });
  return all as SettingInfo<NameIn<Fields>>[];
}

/** The valid settings, and every problem with the others. */
export interface Parsed {
  readonly settings: Record<string, unknown>;
  readonly problems: Problem[];
}

/**
 * Checks settings one by one, so that a problem with one does not hide others. `known` are the names of all settings,
 * from which it suggests one for a misspelt name.
 */
export function parseShape(
  shape: Shape,
  given: Readonly<Record<string, unknown>>,
  known: readonly string[],
  before = '',
): Parsed {
  const settings: Record<string, unknown> = {};
  const problems = Object.entries(shape).flatMap(([name, field]): Problem[] => {
    const path = before + name;
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    const inner = shapeOf(field);
    if (inner) {
      const isGroup = value === undefined || isPlainObject(value);
      const parsed = parseShape(inner, isGroup ? { ...value } : {}, known, `${path}.`);
      settings[name] = parsed.settings;
      return isGroup ? parsed.problems : [{ path, message: `must be an object of ${Object.keys(inner).join(', ')}` }];
    }
    const result = field.safeParse(value);
    if (!result.success) return result.error.issues.map((issue) => problemOf(path, issue));
    if (result.data !== undefined) settings[name] = result.data;
    return [];
  });
  const unknown = Object.keys(given).filter((name) => !Object.hasOwn(shape, name));
  return { settings, problems: [...problems, ...unknown.map((name) => unknownName(before + name, known))] };
}

/**
 * Puts a value into a configuration under its setting's name. If a group is not an object, leaves it for the checks to
 * report.
 */
export function putSetting(config: Record<string, unknown>, setting: string, value: unknown): void {
  const [name = '', ...inner] = setting.split('.');
  if (inner.length === 0) {
    config[name] = value;
    return;
  }
  const given = config[name] ?? {};
  if (!isPlainObject(given)) return;
  const copy = { ...given };
  config[name] = copy;
  putSetting(copy, inner.join('.'), value);
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unknownName(name: string, known: readonly string[]): Problem {
  const bare = (text: string) => text.replaceAll(/[-_.]/g, '').toLowerCase();
  const meant = known.find((candidate) => bare(candidate) === bare(name));
  if (meant) return { path: name, message: `there is no such setting; it is called ${meant}` };
  const like = nearest(bare(name), known, bare);
  return { path: name, message: `there is no such setting${like ? `; did you mean ${like}?` : ''}` };
}

function problemOf(name: string, issue: z.core.$ZodIssue): Problem {
  return { path: [name, ...issue.path].join('.'), message: issue.message };
}

/** The fields of a group; `undefined` if the schema is a setting. */
function shapeOf(field: z.ZodType): Shape | undefined {
  if (!(field instanceof z.ZodPrefault)) return undefined;
  const inner = field.def.innerType;
  return inner instanceof z.ZodObject ? (inner.shape as Shape) : undefined;
}

function defaultOf(field: z.ZodType): unknown {
  return (field.def as { defaultValue?: unknown }).defaultValue;
}

function isObjects(field: z.ZodType): boolean {
  for (let at: z.ZodType | undefined = field; at; at = (at.def as { innerType?: z.ZodType }).innerType) {
    if (at.meta()?.[OBJECTS] === true) return true;
  }
  return false;
}
