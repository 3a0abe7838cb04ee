/** Directories with the files of the bases: for the stage that installs, and for the one that runs. */
export interface Bases {
  readonly install: string;
  readonly run: string;
}

export function imageToolsMissing(): string | undefined;
export function buildBases(): Promise<Bases>;
/** The directory of a Debian with systemd. */
export function buildDebian(): Promise<string>;
