import type { DataPlane } from '../plane/plane.js';
import type { Command } from '../registry/registry.js';

/** Carries out the registry's commands on the plane, in order. */
export function runCommands(plane: DataPlane, commands: readonly Command[]): void {
  for (const command of commands) {
    switch (command.kind) {
      case 'send':
        plane.send(command.ids, command.frames, { pull: command.pull });
        break;
      case 'gone':
        plane.gone(command.key, command.reason);
        break;
      case 'route':
        plane.route(command.key, command.via);
        break;
      case 'close':
        plane.close(command.id, 'closed_by_peer');
        break;
    }
  }
}
