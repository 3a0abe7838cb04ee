/**
 * derpkit and the real derper are asked the same, in the same run, and what they answer is compared line by line. Where
 * they differ on purpose, `deviations.ts` says so; an entry that is not needed any more fails.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEVIATIONS, type Deviation, settled } from './deviations.ts';
import { ADMISSION_CASES } from './differential/admission-cases.ts';
import { Faces, type Side } from './differential/faces.ts';
import { FRAME_CASES } from './differential/frame-cases.ts';
import { HEAD_CASES } from './differential/head-cases.ts';
import { HTTP_CASES } from './differential/http-cases.ts';
import { type Case, Script } from './differential/transcript.ts';
import { UPGRADE_CASES } from './differential/upgrade-cases.ts';
import { makeWorkspace, SERVER_NAME, type Workspace } from './scenarios.ts';

const CASES: readonly Case[] = [...HTTP_CASES, ...HEAD_CASES, ...UPGRADE_CASES, ...FRAME_CASES, ...ADMISSION_CASES];

/** The native plane has its own records for each version of TLS; the other one has Node's. */
const TLS_12_CASES = CASES.filter(({ face }) => face === 'tls');

type Asked = Side | 'derper over TLS 1.2' | 'native over TLS 1.2';

let workspace: Workspace;
const sides = new Map<Asked, Faces>();

beforeAll(async () => {
  workspace = await makeWorkspace(SERVER_NAME);
  for (const side of ['derper', 'js', 'native'] as const) sides.set(side, new Faces(side, workspace));
  for (const side of ['derper', 'native'] as const) {
    sides.set(`${side} over TLS 1.2`, new Faces(side, workspace, 'TLSv1.2'));
  }
});

afterAll(async () => {
  await Promise.all([...sides.values()].map((faces) => faces.stop()));
  workspace?.remove();
});

/** What each side said in each case; asked once. */
const played = new Map<string, Promise<readonly string[]>>();

function play(side: Asked, one: Case): Promise<readonly string[]> {
  const key = `${side} ${one.name}`;
  const transcript = played.get(key) ?? Script.play(sides.get(side) as Faces, one);
  played.set(key, transcript);
  return transcript;
}

it('every case has its own name', () => {
  expect(CASES.length).toBeGreaterThan(400);
  expect(new Set(CASES.map(({ name }) => name)).size).toBe(CASES.length);
});

describe.each(['js', 'native'] as const)('beside derper, the %s plane', (side) => {
  it.each(CASES)('the plane answers as derper does: $name', async (one) => {
    const [ours, theirs] = [await play(side, one), await play('derper', one)];
    expect(settled(ours, one.name, DEVIATIONS)).toEqual(settled(theirs, one.name, DEVIATIONS));
  });
});

describe('beside derper, the native plane over TLS 1.2', () => {
  it.each(TLS_12_CASES)('the native plane answers as derper does over TLS 1.2: $name', async (one) => {
    const [ours, theirs] = [await play('native over TLS 1.2', one), await play('derper over TLS 1.2', one)];
    expect(settled(ours, one.name, DEVIATIONS)).toEqual(settled(theirs, one.name, DEVIATIONS));
  });
});

describe('deviations', () => {
  it.each(DEVIATIONS)('the deviation $name is needed', async (deviation: Deviation) => {
    const others = DEVIATIONS.filter((other) => other !== deviation);
    const one = CASES.find(({ name }) => name === deviation.shownBy);
    if (!one) throw new Error(`there is no case ${deviation.shownBy}`);
    const [ours, theirs] = [await play('js', one), await play('derper', one)];
    expect(settled(ours, one.name, others)).not.toEqual(settled(theirs, one.name, others));
  });
});
