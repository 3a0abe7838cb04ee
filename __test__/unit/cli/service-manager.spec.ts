import { expect, it } from 'vitest';
import { ServiceManager } from '../../../src/cli/service-manager.js';
import { createRelay } from '../../../src/relay.js';

it('the variables of a service manager are taken, so that no child process speaks in the name of the relay', () => {
  const env = { NOTIFY_SOCKET: '/nowhere', WATCHDOG_USEC: '1000000', WATCHDOG_PID: `${process.pid}`, PATH: '/bin' };
  new ServiceManager(createRelay({ plane: 'js', logLevel: 'silent' }), env);
  expect(env).toEqual({ PATH: '/bin' });
});
