/** The tailscaled of this machine. */
import { existsSync, readFileSync, statSync } from 'node:fs';

import { MacApp } from './mac-app.js';
import { Tailscaled } from './tailscaled.js';

/** Asks the one that Go's client asks where no socket is named: on macOS first the app. */
export function localTailscaled(platform: NodeJS.Platform = process.platform): Tailscaled {
  return new Tailscaled({ socket: defaultSocket(platform), app: platform === 'darwin' ? new MacApp() : undefined });
}

/** The socket that Go's client uses by default. */
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
