/** The path of promtool, fetched if need be. Throws with the reason where it cannot be had. */
export function promtool(): Promise<string>;
