/** The place and change of a Stryker mutant: its name within one state of the sources. */
export function place({ fileName, location: { start, end }, mutatorName, replacement }) {
  const file = fileName.slice(Math.max(0, fileName.lastIndexOf('/src/') + 1));
  return `${file}:${start.line}:${start.column}-${end.line}:${end.column} ${mutatorName} ${replacement}`;
}
