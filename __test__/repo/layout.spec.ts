import { describe, expect, it } from 'vitest';
import { longFiles, MOST_LINES, oddNames, strayEntries } from './layout.js';
import { read, trackedFiles } from './project.js';

const files = trackedFiles();

describe('the repository', () => {
  it('the top of the repository has nothing but what belongs there', () => {
    expect(files).toContain('package.json');
    expect(strayEntries(files)).toEqual([]);
  });

  it('the top of src has six files; every other file is in the folder of its kind', () => {
    const top = files.filter((path) => /^src\/[^/]*$/.test(path)).map((path) => path.slice('src/'.length));
    expect(top.sort()).toEqual(['config.ts', 'errors.ts', 'index.ts', 'logger.ts', 'relay.ts', 'version.ts']);
  });

  it('the names of sources have one style for each language', () => {
    expect(oddNames(files)).toEqual([]);
  });

  it(`no source file has more than ${MOST_LINES} lines`, () => {
    expect(longFiles(files, read)).toEqual([]);
  });
});

describe('these tests can fail', () => {
  it.each(['notes.md', 'lib/index.ts', '.env', 'tsconfig.a.b.json', 'Dockerfile'])(
    'a stray file at the top is found: %s',
    (path) => {
      expect(strayEntries([...files, path])).toHaveLength(strayEntries(files).length + 1);
    },
  );

  it.each(['tsconfig.build.json', 'docs/any.md', '.github/x.yml'])('a permitted file at the top passes: %s', (path) => {
    expect(strayEntries([...files, path])).toEqual(strayEntries(files));
  });

  it.each([
    'src/meshMap.ts',
    'src/MeshMap.ts',
    'src/mesh_map.ts',
    'src/mesh-map.test.ts',
    'src/Plane/plane.ts',
    'src/-a.ts',
    'crates/a/src/frame-decoder.rs',
    'crates/a/src/Frame.rs',
    '__test__/interop/go/peerGone.go',
    'packaging/Build.mjs',
  ])('an odd name is found: %s', (path) => {
    expect(oddNames([path])).toEqual([path]);
  });

  it.each([
    'src/mesh-map.ts',
    'src/plane/js/js-plane.ts',
    '__test__/unit/egress.spec.ts',
    'crates/derp-proto/src/frame_decoder.rs',
    'vitest.config.ts',
    'README.md',
  ])('a usual name passes: %s', (path) => {
    expect(oddNames([path])).toEqual([]);
  });

  it('a file that is too long is found', () => {
    const text = (count: number) => 'x\n'.repeat(count);
    expect(longFiles(['a.ts', 'b.rs'], () => text(MOST_LINES + 1))).toEqual(['a.ts: 501 lines', 'b.rs: 501 lines']);
    expect(longFiles(['a.ts', 'b.rs'], () => text(MOST_LINES))).toEqual([]);
    expect(longFiles(['a.json'], () => text(MOST_LINES + 1))).toEqual([]);
  });
});
