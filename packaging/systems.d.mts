/** A system that is not this one, whose programs run here. */
export interface System {
  readonly name: string;
  /** The platform package that npm installs there, such as `linux-arm64-gnu`. */
  readonly target: string;
  /** The path of its Node. */
  readonly node: string;
  /** The command that runs a program of that system: the program's path and arguments follow. */
  readonly before: readonly string[];
}

export const WITHOUT_AES: string;
export function whyNoSystems(): string | undefined;
export function otherSystems(): readonly System[];
