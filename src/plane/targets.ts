/** The platforms that have a prebuilt addon, and the name of this platform. */

/**
 * Platforms, as package names have them: `@derpkit/native-linux-x64-gnu`. Every other platform runs the JavaScript
 * plane.
 */
export const TARGETS = [
  'linux-x64-gnu',
  'linux-arm64-gnu',
  'linux-x64-musl',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
] as const;

/** This process's platform, architecture and, on Linux, C library. May be a name outside {@link TARGETS}. */
export function targetName(): string {
  const { platform, arch } = process;
  if (platform !== 'linux') return `${platform}-${arch}`;
  return `linux-${arch}-${hasGlibc() ? 'gnu' : 'musl'}`;
}

/** The package with the addon and the load generator for a target. */
export function packageOf(target: string): string {
  return `@derpkit/native-${target}`;
}

/** The file name of the addon, in its package and in `npm/<target>/` of a clone. */
export function addonFile(target: string): string {
  return `derpkit.${target}.node`;
}

function hasGlibc(): boolean {
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  const { excludeNetwork } = report;
  // Without this, Node looks up the host names of every connection of this process.
  report.excludeNetwork = true;
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } };
  report.excludeNetwork = excludeNetwork ?? false;
  return header.glibcVersionRuntime !== undefined;
}
