export function buildComposeReader(): Promise<string>;
