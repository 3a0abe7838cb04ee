/** The forms in which settings are given. */

/** A boolean, or as text `1`, `t`, `T`, `TRUE`, `true`, `True`, `0`, `f`, `F`, `FALSE`, `false`, `False`. */
export type BooleanSetting = boolean | string;

/** A number, or its decimal digits as text. */
export type NumberSetting = number | string;

/** Milliseconds as a number, also in a settings file, or text in Go's form: `1m30s`, `2s`, `500ms`. Never negative; more than 24 days are 24 days. */
export type DurationSetting = number | string;

/** Bytes as a whole number, or text with a binary unit: `64MiB`, `512KiB`, `1GiB`. At least 1. */
export type ByteSetting = number | string;

/** A list, or text with commas between the entries; empty text is an empty list. */
export type ListSetting = readonly string[] | string;
