export function killer(part: { readonly source: string }, log: string): string | undefined;
