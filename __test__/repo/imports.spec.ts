import { describe, expect, it } from 'vitest';
import { beyondReexports, cycles, importsOf, packagesOf, type Rule, violations } from './imports.js';
import { manifest, read, sources, trackedFiles } from './project.js';

/** What the planes have in common. */
const PLANE = ['plane/address.ts', 'plane/tap.ts', 'plane/strangers.ts', 'plane/networks.ts', 'faults/barrier.ts'];

/** Which way imports go. What is not here is not permitted. */
const RULES: Readonly<Record<string, Rule>> = {
  'protocol/': { npm: ['@noble/ciphers', 'tweetnacl'] },
  'errors.ts': {},
  'faults/barrier.ts': {},
  'relay/descriptors.ts': { types: ['config.ts'] },
  'faults/fault-log.ts': { ours: ['faults/barrier.ts', 'errors.ts'], types: ['logger.ts'] },
  'logger.ts': { npm: ['pino'] },
  'version.ts': {},
  'words/': {},
  'config/': { ours: ['protocol/'], types: ['errors.ts'], npm: ['zod'] },
  'config.ts': { ours: ['config/', 'errors.ts', 'logger.ts', 'protocol/'], npm: ['zod'] },

  'registry/': { ours: ['protocol/'] },

  'plane/ids.ts': {},
  'plane/drop-reasons.ts': {},
  'plane/certificate-set.ts': { types: ['plane/ids.ts'] },
  'plane/snapshot.ts': {},
  'plane/packet-tap.ts': { types: ['plane/counters.ts', 'protocol/'] },
  'plane/policy.ts': { types: ['protocol/'] },
  'plane/mesh-link.ts': { types: ['plane/ids.ts', 'protocol/'] },
  'plane/plane.ts': {
    ours: ['plane/snapshot.ts'],
    types: [
      'plane/ids.ts',
      'plane/certificate-set.ts',
      'plane/counters.ts',
      'plane/failures.ts',
      'plane/mesh-link.ts',
      'plane/packet-tap.ts',
      'plane/policy.ts',
      'protocol/',
      'errors.ts',
    ],
  },
  'plane/failures.ts': { types: ['plane/ids.ts'] },
  'plane/counters.ts': {
    ours: ['plane/drop-reasons.ts', 'plane/failures.ts'],
    types: ['plane/counter-figures.ts', 'protocol/', 'errors.ts'],
  },
  'plane/counter-figures.ts': { types: ['plane/drop-reasons.ts', 'plane/failures.ts'] },
  'plane/address.ts': { ours: ['errors.ts'], types: ['plane/plane.ts'] },
  'plane/networks.ts': { ours: ['plane/address.ts'] },
  'plane/strangers.ts': { ours: ['plane/networks.ts'], types: ['plane/plane.ts'] },
  'plane/tap.ts': { types: ['plane/plane.ts'] },
  'plane/js/stun.ts': {
    ours: ['plane/address.ts', 'plane/js/stun-sockets.ts', 'protocol/'],
    types: ['plane/plane.ts', 'plane/js/context.ts'],
  },
  'plane/js/stun-sockets.ts': { ours: ['plane/address.ts'], types: ['plane/plane.ts'] },
  'plane/js/websocket-stream.ts': { ours: ['protocol/'], types: ['faults/barrier.ts'] },
  'plane/js/': {
    ours: [...PLANE, 'plane/plane.ts', 'plane/counters.ts', 'protocol/', 'errors.ts'],
    types: ['plane/failures.ts'],
  },
  'plane/native-tap.ts': { ours: ['plane/counters.ts', 'protocol/'], types: ['plane/plane.ts'] },
  'plane/native-policy.ts': { ours: ['protocol/'], types: ['plane/binding.ts', 'plane/plane.ts'] },
  'plane/targets.ts': {},
  'plane/addon.ts': { ours: ['plane/targets.ts', 'errors.ts', 'version.ts'] },
  'plane/binding.ts': { types: ['plane/plane.ts'] },
  'plane/event-records.ts': { ours: ['protocol/'], types: ['plane/binding.ts', 'plane/ids.ts', 'plane/plane.ts'] },
  'plane/native.ts': {
    types: ['plane/binding.ts'],
    ours: [
      ...PLANE,
      ...['plane/addon.ts', 'plane/native-policy.ts', 'plane/native-tap.ts', 'plane/plane.ts', 'plane/counters.ts'],
      ...['plane/event-records.ts'],
      ...['protocol/', 'errors.ts'],
    ],
  },
  // The one place where the planes meet.
  'plane/select.ts': { ours: ['plane/js/', 'plane/native.ts', 'plane/plane.ts', 'errors.ts'] },

  // The protocol alone: no file, no setting, no relay.
  'acme/': { npm: ['@peculiar/asn1-schema', '@peculiar/asn1-x509'] },
  'control/directory/': {
    ours: ['control/line-limit.ts', 'protocol/', 'errors.ts'],
    types: ['faults/barrier.ts'],
    npm: ['@nats-io/transport-node', 'tweetnacl'],
  },
  'control/': {
    ours: ['acme/', 'protocol/', 'errors.ts', 'words/'],
    types: ['plane/plane.ts', 'plane/counters.ts', 'faults/barrier.ts'],
    npm: ['@peculiar/asn1-schema', '@peculiar/asn1-x509'],
  },
  'metrics/': { ours: ['plane/counters.ts'], types: ['registry/figures.ts'] },
  'http/': {
    ours: ['plane/address.ts', 'plane/networks.ts', 'plane/strangers.ts', 'protocol/', 'errors.ts', 'words/'],
    types: ['plane/plane.ts', 'plane/counters.ts', 'faults/barrier.ts', 'registry/'],
    npm: ['pprof-format'],
  },

  'relay/commands.ts': { types: ['plane/plane.ts', 'registry/'] },
  'relay/': {
    ours: [
      ...[
        'config.ts',
        'control/',
        'errors.ts',
        'faults/',
        'http/',
        'logger.ts',
        'metrics/',
        'plane/counters.ts',
        'plane/failures.ts',
        'plane/snapshot.ts',
        'protocol/',
        'registry/',
        'version.ts',
        'words/',
      ],
    ],
    types: ['plane/plane.ts', 'plane/counter-figures.ts'],
  },
  'relay.ts': {
    ours: ['config.ts', 'errors.ts', 'faults/fault-log.ts', 'logger.ts', 'plane/select.ts', 'protocol/', 'relay/'],
    types: ['control/', 'plane/counter-figures.ts', 'registry/'],
  },
  'index.ts': {
    ours: ['config.ts', 'errors.ts', 'plane/counters.ts', 'relay.ts', 'version.ts'],
    types: [
      ...[
        'config/',
        'control/',
        'logger.ts',
        'plane/counter-figures.ts',
        'plane/plane.ts',
        'registry/',
        'relay/api.ts',
        'relay/on-demand.ts',
      ],
    ],
  },
  // Starts relays as programs, as anyone would: it knows nothing of how they work.
  'bench/': { ours: ['control/x509.ts', 'plane/targets.ts', 'plane/select.ts', 'version.ts', 'words/'] },
  'cli/': {
    ours: [
      'bench/',
      'relay.ts',
      'config/',
      'config.ts',
      'errors.ts',
      'logger.ts',
      'version.ts',
      'words/',
      'plane/select.ts',
      'protocol/',
    ],
    types: ['http/fleet-report.ts'],
    npm: ['commander', 'jsonc-parser', 'yaml'],
  },
};

const files = sources();

describe('imports', () => {
  it('imports go in permitted directions only', () => {
    expect(files.size).toBeGreaterThan(40);
    expect(violations(files, RULES)).toEqual([]);
  });

  it('every part that the rules name exists', () => {
    const permitted = Object.entries(RULES).flatMap(([part, { ours = [], types = [] }]) => [part, ...ours, ...types]);
    const there = (part: string) => [...files.keys()].some((path) => path === part || path.startsWith(part));
    expect(permitted.filter((part) => !there(part))).toEqual([]);
  });

  it('imports make no rings, not even of types', () => {
    expect(cycles(files)).toEqual([]);
  });

  it('imports of tests and their helpers make no rings, not even of types', () => {
    const tests = trackedFiles().filter((path) => path.startsWith('__test__/') && path.endsWith('.ts'));
    // An import by a name that only the run knows is no helper.
    const statements = (text: string) =>
      [...text.matchAll(/ from '(\.[^']+)';/g)].map(([, specifier]) => `import '${specifier}';`).join('\n');
    const helpers = new Map(tests.map((path) => [path, statements(read(path))]));
    expect(helpers.size).toBeGreaterThan(100);
    expect(cycles(helpers)).toEqual([]);
  });

  it('index.ts has nothing but re-exports', () => {
    expect(beyondReexports(read('src/index.ts'))).toBe('');
  });
});

describe('packages', () => {
  it('every dependency is imported, and every imported package declared', () => {
    expect([...packagesOf(files)].sort()).toEqual(Object.keys(manifest().dependencies).sort());
  });

  it.each([...Object.keys(manifest().dependencies), ...Object.keys(manifest().devDependencies)])(
    'ARCHITECTURE.md says what %s is for',
    (name) => {
      const lines = read('ARCHITECTURE.md').split('\n');
      expect(lines.filter((line) => line.includes(`\`${name}\``))).not.toEqual([]);
    },
  );
});

describe('these tests can fail', () => {
  /** The sources with a line more in one of them. */
  const withLine = (path: string, line: string) => new Map([...files, [path, `${line}\n${files.get(path) ?? ''}`]]);

  it.each([
    ['protocol/key.ts', "import { DerpkitError } from '../errors.js';"],
    ['protocol/key.ts', "import { pino } from 'pino';"],
    ['registry/client.ts', "import { VERSION } from '../version.js';"],
    ['registry/client.ts', "import type { Login } from '../plane/plane.js';"],
    ['plane/plane.ts', "import { DROP_REASONS } from './counters.js';"],
    ['plane/counters.ts', "import { KEY_LENGTH } from '../protocol/wire.js';"],
    ['plane/js/queue.ts', "import { selectPlane } from '../select.js';"],
    ['plane/js/queue.ts', "import { Registry } from '../../registry/registry.js';"],
    ['control/admit.ts', "import { SNAPSHOT_COLUMNS } from '../plane/plane.js';"],
    ['control/admit.ts', "import { Duplicates } from '../plane/js/duplicates.js';"],
    ['http/pages.ts', "export { COUNTER_NAMES } from '../plane/counters.js';"],
    ['http/pages.ts', "import '../registry/registry.js';"],
    ['config.ts', "import { createRelay } from './relay.js';"],
    ['relay.ts', "import { createJsPlane } from './plane/js/js-plane.js';"],
    ['relay.ts', "import { explain } from './cli/messages.js';"],
    ['relay/running.ts', "import { selectPlane } from '../plane/select.js';"],
    ['index.ts', "export * from './registry/registry.js';"],
    ['cli/derper-command.ts', "import { Registry } from '../registry/registry.js';"],
    ['cli/derper-command.ts', "import { nothing } from './nowhere.js';"],
    ['cli/derper-command.ts', "const late = await import('../registry/registry.js');"],
    ['elsewhere/new.ts', "import { join } from 'node:path';"],
  ])('a forbidden import in %s is found: %s', (path, line) => {
    expect(violations(withLine(path, line), RULES)).toHaveLength(violations(files, RULES).length + 1);
  });

  it.each([
    ['control/admit.ts', "import type { Login } from '../plane/plane.js';"],
    ['control/admit.ts', "import { type Login, type Admission } from '../plane/plane.js';"],
    ['protocol/key.ts', "import { randomBytes } from 'node:crypto';"],
  ])('a permitted import in %s passes: %s', (path, line) => {
    expect(violations(withLine(path, line), RULES)).toHaveLength(violations(files, RULES).length);
  });

  it('rings of imports are found, and rings of types, too', () => {
    const ring = (back: string) =>
      new Map([
        ['a.ts', "import { b } from './in/b.js';\nimport './c.js';"],
        ['in/b.ts', "import { c } from '../c.js';"],
        ['c.ts', back],
      ]);
    expect(cycles(ring("import { b } from './in/b.js';"))).toEqual(['in/b.ts → c.ts → in/b.ts']);
    expect(cycles(ring("export { b } from './a.js';"))).toEqual(['a.ts → in/b.ts → c.ts → a.ts']);
    expect(cycles(ring("import type { B } from './in/b.js';"))).toEqual(['in/b.ts → c.ts → in/b.ts']);
    expect(cycles(ring("import type { B } from './in/d.js';"))).toEqual([]);
    expect(cycles(withLine('protocol/wire.ts', "import { readNodeKey } from './key.js';"))).not.toEqual([]);
  });

  it('imports are read in every form', () => {
    const text = `
import a from 'a';
import * as b from 'b';
import c, { d } from 'c';
import {
  type D1,
  d2,
} from 'd';
import { type E1, type E2 } from 'e';
import type { F } from 'f';
import 'g';
import h from './h.json' with { type: 'json' };
export { i } from 'i';
export type { J } from 'j';
export * from 'k';
export const notOne = "import x from 'x';";
// import y from 'y';
const late = await import('l');
`;
    const types = importsOf(text).filter(({ typeOnly }) => typeOnly);
    expect(importsOf(text).map(({ specifier }) => specifier)).toEqual([...'abcdefg', './h.json', ...'ijkl']);
    expect(types.map(({ specifier }) => specifier)).toEqual(['e', 'f', 'j']);
    expect(() => importsOf('const late = await import(name);')).toThrow();
    expect(() => importsOf('import a from "a";')).toThrow();
  });

  it('anything but a re-export is found', () => {
    expect(beyondReexports("/** Text. */\nexport { a } from 'a';\nexport type { B } from 'b';\n")).toBe('');
    expect(beyondReexports("export { a } from 'a';\nexport const b = 1;\n")).toBe('export const b = 1;');
    expect(beyondReexports("export * from 'a';")).not.toBe('');
  });
});
