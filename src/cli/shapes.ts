/** Shapes of JSON that a relay answers, checked: it may be of another version, or no relay at all. */

/** What a value has to be: a kind of value, a list, an object with at least these fields, a map, or one of several. */
export type Shape =
  | 'string'
  | 'number'
  | 'boolean'
  | 'null'
  | 'absent'
  | { readonly [name: string]: Shape }
  | ListOf
  | MapOf
  | OneOf;

export class ListOf {
  constructor(readonly item: Shape) {}
}

/** An object with any names. */
export class MapOf {
  constructor(readonly value: Shape) {}
}

export class OneOf {
  constructor(readonly shapes: readonly Shape[]) {}
}

export const orNull = (shape: Shape) => new OneOf([shape, 'null']);
export const orAbsent = (shape: Shape) => new OneOf([shape, 'absent']);

export function fits(value: unknown, shape: Shape): boolean {
  if (shape instanceof OneOf) return shape.shapes.some((each) => fits(value, each));
  if (shape instanceof ListOf) return Array.isArray(value) && value.every((item) => fits(item, shape.item));
  if (typeof shape === 'string') return kindOf(value) === shape;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  if (shape instanceof MapOf) return Object.values(value).every((each) => fits(each, shape.value));
  const given = value as Record<string, unknown>;
  return Object.entries(shape).every(([name, each]) => fits(given[name], each));
}

function kindOf(value: unknown): string {
  return value === null ? 'null' : value === undefined ? 'absent' : typeof value;
}
