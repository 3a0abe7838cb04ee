/** The path of nats-server; `undefined` if it is not built. */
export function builtNats(): string | undefined;
export function buildNats(): Promise<string>;
