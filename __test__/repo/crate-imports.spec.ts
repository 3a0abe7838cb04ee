/** Which way the imports of the crates go: down, from floor to floor, and never round in a circle. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { arrowsOf, type Crate, circles, upward } from './crate-imports.js';
import { ROOT, trackedFiles } from './project.js';

/**
 * The floors of each crate, from the top down, by the first name of a module; '' is the root. Rooms of one floor do not import
 * one another. A file that has no room here is an error.
 */
const FLOORS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  'derp-net': [
    [''],
    ['plane'],
    ['worker'],
    ['ingress', 'stun'],
    ['hub'],
    ['conn'],
    ['egress'],
    ['io', 'state'],
    ['base'],
  ],
  'derp-proto': [
    [''],
    ['client_login'],
    ['login', 'server_frame'],
    ['client_info', 'counters', 'fair_queue', 'frame', 'frame_rules', 'http_head', 'sender_sketch'],
    ['decode', 'drain_rate', 'drop_reason', 'key'],
    ['codel', 'duplicates', 'json', 'stun', 'sync', 'token_bucket', 'websocket', 'wire'],
  ],
  'derp-tls': [
    [''],
    ['handshake'],
    ['client'],
    ['certificates', 'receive', 'send', 'fuzz_records'],
    ['record', 'tickets', 'trust'],
    ['alert', 'chain', 'key_log', 'keys', 'meta_cert'],
  ],
  'derp-node': [
    ['fault_injection'],
    [''],
    ['ffi_unsafe', 'records'],
    ['convert'],
    ['error', 'notify', 'wake', 'words'],
  ],
  'derp-bench': [
    [''],
    ['columns', 'scenario'],
    ['report'],
    ['idle'],
    ['cli', 'mesh', 'narrow', 'overload', 'slow', 'storm', 'stun'],
    ['bystander', 'crew', 'figures', 'restart'],
    ['load'],
    ['traffic'],
    ['plan'],
    ['parts', 'target'],
    ['driver', 'varz'],
    ['foreign', 'samples', 'transport'],
    ['burn', 'faults', 'floor', 'flow', 'pacing', 'packet', 'process', 'session', 'timer', 'tls'],
  ],
  fuzz: [[''], ['streams']],
};

/** Which crates of ours a crate may use. Dependencies of tests count, too. */
const CRATES: Readonly<Record<string, readonly string[]>> = {
  'derp-proto': [],
  'derp-tls': [],
  'derp-net': ['derp-proto', 'derp-tls'],
  'derp-node': ['derp-net', 'derp-proto', 'derp-tls'],
  'derp-bench': ['derp-proto'],
  fuzz: ['derp-proto', 'derp-tls'],
};

const files = trackedFiles();
const text = (path: string) => readFileSync(join(ROOT, path), 'utf8');

function crate(name: string): Crate {
  const under = `crates/${name}/src/`;
  const sources = files.filter((path) => path.startsWith(under) && path.endsWith('.rs'));
  return new Map(sources.map((path) => [path.slice(under.length), text(path)]));
}

describe('the crates', () => {
  it('every crate has floors', () => {
    const there = files.filter((path) => /^crates\/[^/]+\/Cargo\.toml$/.test(path)).map((path) => path.split('/')[1]);
    expect(Object.keys(FLOORS).sort()).toEqual(there.sort());
  });

  it.each(Object.entries(CRATES))('%s uses no other crate of ours than those permitted', (name, permitted) => {
    const used = [...text(`crates/${name}/Cargo.toml`).matchAll(/^(derp-\w+)(?: =|\.workspace)/gm)].map(
      ([, other]) => other,
    );
    expect(used.filter((other) => !permitted.includes(other ?? ''))).toEqual([]);
  });
});

describe.each(Object.entries(FLOORS))('the imports of %s', (name, floors) => {
  const sources = crate(name);

  it(`imports go down only, in ${name}`, () => {
    expect(arrowsOf(sources).length).toBeGreaterThan(0);
    expect(upward(sources, floors)).toEqual([]);
  });

  it(`imports make no circle of files, in ${name}`, () => {
    expect(circles(arrowsOf(sources))).toEqual([]);
  });

  it(`every room on a floor exists, in ${name}`, () => {
    const rooms = new Set([...sources.keys()].map((path) => path.split(/[/.]/)[0]));
    expect(floors.flat().filter((room) => room !== '' && !rooms.has(room))).toEqual([]);
  });
});

describe('the test of the imports of crates can fail', () => {
  const net = crate('derp-net');
  const floors = FLOORS['derp-net'] ?? [];
  /** The crate with a line more in one of its files. */
  const withLine = (path: string, line: string): Crate =>
    new Map([...net, [path, `${net.get(path) ?? ''}\n${line}\n`]]);

  it.each([
    ['base/ledger.rs', 'use crate::conn::Conn;', 'conn.rs'],
    ['conn.rs', 'use crate::{base::sync::Lock, hub::{ctx::Ctx, mail::Mail}};', 'hub/ctx.rs'],
    ['conn.rs', 'use super::hub::ctx::Ctx;', 'hub/ctx.rs'],
    ['state/table.rs', 'fn any() { let _ = crate::hub::mail::WAKE; }', 'hub/mail.rs'],
    ['state/table.rs', 'use super::super::io::writer::SLICES;', 'io/writer.rs'],
    ['egress/inbox.rs', 'type Plane = crate::Plane;', 'lib.rs'],
    ['worker/connections.rs', 'pub use crate::plane::Plane;', 'plane.rs'],
  ])('an import upward in %s is found: %s', (path, line, to) => {
    expect(upward(withLine(path, line), floors)).toContain(`${path} → ${to}`);
  });

  it('a file that stands on no floor is found', () => {
    expect(upward(new Map([...net, ['attic.rs', '']]), floors)).toEqual(['attic.rs stands on no floor']);
  });

  it.each([
    ['// use crate::hub::ctx::Ctx;'],
    ['/// See [`crate::hub::ctx::Ctx`].'],
    ['const TEXT: &str = "use crate::hub::ctx::Ctx;";'],
    ['#[cfg(all(test, not(loom)))]\nmod more_tests {\n    use crate::hub::ctx::Ctx;\n}'],
    ['mod inner {\n    use super::super::base::sync::Lock;\n}'],
  ])('the test passes with %s', (line) => {
    expect(upward(withLine('conn.rs', line), floors)).toEqual([]);
  });

  it.each([
    ['base/ledger.rs', 'use crate::base::sync::Lock;', 'base/sync.rs', 'use super::ledger::Ledger;'],
    ['egress.rs', 'mod backlog;\nuse self::backlog::Backlog;', 'egress/backlog.rs', 'use super::Egress;'],
    ['egress.rs', 'mod backlog;\ntype B = backlog::Backlog;', 'egress/backlog.rs', 'use crate::egress::Egress;'],
  ])('a circle is found: %s: %s', (one, there, other, back) => {
    const ring = new Map([...withLine(one, there), [other, `${net.get(other) ?? ''}\n${back}\n`]]);
    expect(circles(arrowsOf(ring)).some((files) => files.includes(one) && files.includes(other))).toBe(true);
  });
});
