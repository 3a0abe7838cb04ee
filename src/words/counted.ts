/** A number with its noun: `1 key`, `2 keys`. `shown` is the number as text. */
export function counted(count: number, noun: string, shown = String(count)): string {
  return `${shown} ${noun}${count === 1 ? '' : 's'}`;
}
