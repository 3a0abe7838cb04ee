import { describe, expectTypeOf, it } from 'vitest';
import type { z } from 'zod';
import type { NameIn } from '../../src/config/groups.js';
import type { LimitsConfig, RelayConfig, SettingName } from '../../src/config/relay-config.js';
import type { Schema } from '../../src/config.js';

/** A schema's input as an interface says it: nothing of it is written to. */
type Readonlies<Type> = Type extends readonly (infer Element)[]
  ? readonly Readonlies<Element>[]
  : Type extends object
    ? { readonly [Name in keyof Type]: Readonlies<Type[Name]> }
    : Type;

type Input = Readonlies<z.input<Schema>>;
/** Fields in place of those of RelayConfig. */
type Changed<Fields> = Flat<Omit<RelayConfig, keyof Fields> & Fields>;
type Flat<Type> = { [Name in keyof Type]: Type[Name] };

/** The compiler checks these, as part of `npm run lint`. */
describe('the interface RelayConfig', () => {
  it('RelayConfig has exactly the schema’s fields and types', () => {
    expectTypeOf<RelayConfig>().toEqualTypeOf<Input>();
    expectTypeOf<Input>().toEqualTypeOf<RelayConfig>();
  });

  it('SettingName has exactly the schema’s settings', () => {
    expectTypeOf<SettingName>().toEqualTypeOf<Exclude<NameIn<Schema['shape']>, 'certificate'>>();
  });

  it('the comparison notices an additional, a missing or a different field, and another group', () => {
    // @ts-expect-error
    expectTypeOf<Changed<{ readonly more?: string | undefined }>>().toEqualTypeOf<Input>();
    // @ts-expect-error
    expectTypeOf<Omit<RelayConfig, 'listen'>>().toEqualTypeOf<Input>();
    // @ts-expect-error
    expectTypeOf<Changed<{ readonly stun?: boolean | undefined }>>().toEqualTypeOf<Input>();
    // @ts-expect-error
    expectTypeOf<Changed<{ readonly limits?: Omit<LimitsConfig, 'exempt'> | undefined }>>().toEqualTypeOf<Input>();
    expectTypeOf<Changed<{ readonly limits?: LimitsConfig | undefined }>>().toEqualTypeOf<Input>();
  });
});
