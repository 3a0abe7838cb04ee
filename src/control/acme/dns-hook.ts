/** DNS-01 by the operator's command: `COMMAND present NAME VALUE`, and later `COMMAND cleanup NAME VALUE`. */
import { execFile } from 'node:child_process';

/**
 * Sets a TXT record for DNS-01 (`present`), or removes it (`cleanup`). `name` is the full name, `_acme-challenge.…`;
 * `value` is the text of the record. `present` resolves once the record is visible; if it rejects, the order of the
 * certificate fails.
 */
export type DnsHook = (action: 'present' | 'cleanup', name: string, value: string) => Promise<void>;

const TIMEOUT = 120_000;
const MOST_OUTPUT = 64 << 10;
const MOST_QUOTED = 300;

export function commandHook(command: string, timeout = TIMEOUT): DnsHook {
  return (action, name, value) =>
    new Promise((resolve, reject) => {
      const options = { timeout, killSignal: 'SIGKILL', maxBuffer: MOST_OUTPUT, windowsHide: true } as const;
      execFile(command, [action, name, value], options, (error, _stdout, stderr) => {
        if (!error) resolve();
        else reject(new Error(`${command} ${action} ${name}: ${reason(error, stderr, timeout)}`));
      });
    });
}

/** The last line of the command's output, else how the command ended. */
function reason(error: Error & { killed?: boolean; code?: unknown }, stderr: string, timeout: number): string {
  if (error.killed) return `it did not end within ${timeout / 1000} s`;
  const how = typeof error.code === 'number' ? `exit status ${error.code}` : error.message;
  const text = stderr.trim();
  const line = text.lastIndexOf('\n') + 1;
  return text ? `${how}: ${text.slice(line, line + MOST_QUOTED)}` : how;
}
