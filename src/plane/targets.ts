/** The platforms that have a prebuilt addon, and which of them this is. */

/** In the words of the packages: `@derpkit/native-linux-x64-gnu`. The others run on the JavaScript plane. */
export const TARGETS = [
  'linux-x64-gnu',
  'linux-arm64-gnu',
  'linux-x64-musl',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
] as const;

/** Platform, architecture and, on Linux, the C library of this process. It may be none of {@link TARGETS}. */
export function targetName(): string {
  const { platform, arch } = process;
  if (platform !== 'linux') return `${platform}-${arch}`;
  return `linux-${arch}-${hasGlibc() ? 'gnu' : 'musl'}`;
}

/** The package that has the addon of a target, and the load generator beside it. */
export function packageOf(target: string): string {
  return `@derpkit/native-${target}`;
}

/** The addon's file, in its package and in `npm/<target>/` of a clone. */
export function addonFile(target: string): string {
  return `derpkit.${target}.node`;
}

function hasGlibc(): boolean {
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  const { excludeNetwork } = report;
  // Otherwise Node looks up the names of all hosts that this process is connected to.
  report.excludeNetwork = true;
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } };
  report.excludeNetwork = excludeNetwork ?? false;
  return header.glibcVersionRuntime !== undefined;
}
