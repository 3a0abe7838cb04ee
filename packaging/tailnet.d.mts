export interface TailnetBinaries {
  readonly headscale: string;
  readonly tailscaled: string;
}
export function builtTailnet(): TailnetBinaries | undefined;
export function buildTailnet(): Promise<TailnetBinaries>;
