/** Where tailscaled has its socket, on this system. */
import { existsSync, readFileSync, statSync } from 'node:fs';

/** The place that Go's client takes where none is named. */
export function defaultSocket(platform: NodeJS.Platform = process.platform): string {
  if (platform === 'win32') return '\\\\.\\pipe\\ProtectedPrefix\\Administrators\\Tailscale\\tailscaled';
  if (platform === 'darwin') return '/var/run/tailscaled.socket';
  if (platform !== 'linux') return isDirectory('/var/run') ? '/var/run/tailscale/tailscaled.sock' : 'tailscaled.sock';
  if (existsSync('/usr/syno')) {
    const version = /^majorversion="6"/m.test(read('/etc.defaults/VERSION')) ? 'etc' : 'var';
    return `/var/packages/Tailscale/${version}/tailscaled.sock`;
  }
  if (existsSync('/etc/config/uLinux.conf')) return '/tmp/tailscale/tailscaled.sock';
  if (existsSync('/gokrazy')) return '/perm/tailscaled/tailscaled.sock';
  return isDirectory('/var/run') ? '/var/run/tailscale/tailscaled.sock' : 'tailscaled.sock';
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
