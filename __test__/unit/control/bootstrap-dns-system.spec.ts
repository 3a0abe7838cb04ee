/** How bootstrap DNS asks the system's resolver, whose answers a test gives. */
import { expect, it, vi } from 'vitest';
import { BootstrapDns } from '../../../src/control/bootstrap-dns.js';
import { STRICT } from '../../helpers/strict-barrier.js';

const { lookup, resolveTxt } = vi.hoisted(() => ({ lookup: vi.fn(), resolveTxt: vi.fn() }));
vi.mock('node:dns/promises', () => ({
  lookup,
  Resolver: class {
    resolveTxt = resolveTxt;
  },
}));

it('the system is asked for all addresses of a name in its own order, and for texts, whose parts are joined', async () => {
  lookup.mockResolvedValue(['2001:db8::1', '192.0.2.1'].map((address) => ({ address })));
  resolveTxt.mockResolvedValue([['1', '00']]);
  const names = new BootstrapDns({ published: [], unpublished: ['a.test/share.test', '192.0.2.7'] }, () => {}, STRICT);
  await names.refresh();
  expect(JSON.parse(names.answer('a.test', 'unknown'))).toEqual({ 'a.test': ['2001:db8::1', '192.0.2.1'] });
  expect(JSON.parse(names.answer('192.0.2.7', 'unknown'))).toEqual({ '192.0.2.7': ['192.0.2.7'] });
  expect(lookup.mock.calls).toEqual([['a.test', { all: true, verbatim: true }]]);
  expect(resolveTxt.mock.calls).toEqual([['share.test']]);
});
