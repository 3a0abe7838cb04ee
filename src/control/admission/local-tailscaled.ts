/** The tailscaled of this machine. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { MacApp } from './mac-app.js';
import { Tailscaled } from './tailscaled.js';

/** Asks the one that Go's client asks where no socket is named: on macOS first the app. */
export function localTailscaled(platform: NodeJS.Platform = process.platform): Tailscaled {
  return new Tailscaled({ socket: defaultSocket(platform), app: platform === 'darwin' ? new MacApp() : undefined });
}

/** The socket that Go's client uses by default. The files that tell systems apart are looked for below `root`. */
export function defaultSocket(platform: NodeJS.Platform = process.platform, root = '/'): string {
  if (platform === 'win32') return '\\\\.\\pipe\\ProtectedPrefix\\Administrators\\Tailscale\\tailscaled';
  if (platform === 'darwin') return '/var/run/tailscaled.socket';
  if (platform === 'linux') {
    if (existsSync(join(root, 'usr/syno'))) {
      const directory = /^majorversion="6"/m.test(read(join(root, 'etc.defaults/VERSION'))) ? 'etc' : 'var';
      return `/var/packages/Tailscale/${directory}/tailscaled.sock`;
    }
    if (existsSync(join(root, 'etc/config/uLinux.conf'))) return '/tmp/tailscale/tailscaled.sock';
    if (existsSync(join(root, 'gokrazy'))) return '/perm/tailscaled/tailscaled.sock';
  }
  return isDirectory(join(root, 'var/run')) ? '/var/run/tailscale/tailscaled.sock' : 'tailscaled.sock';
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
