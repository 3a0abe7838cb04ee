import { describe, expect, it } from 'vitest';
import { FlagError, type GoFlag, goUsage, HelpRequested, parseGoFlags } from '../../../src/cli/goflags.js';

const FLAGS: readonly GoFlag[] = [
  { name: 'b', type: 'bool', fallback: '', usage: 'a switch' },
  { name: 'on', type: 'bool', fallback: 'true', usage: 'a switch that is on' },
  { name: 's', type: 'string', fallback: '', usage: 'a text' },
  { name: 'name', type: 'string', fallback: 'a "b"', usage: 'a text with a default' },
  { name: 'i', type: 'int', fallback: '80', usage: 'a number' },
  { name: 'f', type: 'float', fallback: '+Inf', usage: 'a number with a point' },
  { name: 'd', type: 'duration', fallback: '10m0s', usage: 'a time' },
];

const parse = (args: readonly string[]) => Object.fromEntries(parseGoFlags(args, FLAGS));

describe('flags that Go accepts', () => {
  it.each<[string[], Record<string, string>]>([
    [[], {}],
    [['-b'], { b: 'true' }],
    [['--b'], { b: 'true' }],
    [['-b=true'], { b: 'true' }],
    [['-b=false'], { b: 'false' }],
    [['-b=F'], { b: 'F' }],
    [['-on=0'], { on: '0' }],
    [['-b', '-b=false'], { b: 'false' }],
    [['-s', 'x'], { s: 'x' }],
    [['--s', 'x'], { s: 'x' }],
    [['-s=x'], { s: 'x' }],
    [['--s=x'], { s: 'x' }],
    [['-s='], { s: '' }],
    [['-s', ''], { s: '' }],
    [['-s=a=b'], { s: 'a=b' }],
    [['-s=1', '-s=2'], { s: '2' }],
    // The next word is the value, whatever it looks like.
    [['-s', '-b'], { s: '-b' }],
    [['-s', '--'], { s: '--' }],
    [['-i', '-5'], { i: '-5' }],
    [['-i=0'], { i: '0' }],
    [['-i=+5'], { i: '+5' }],
    [['-i=9223372036854775807'], { i: '9223372036854775807' }],
    [['-f=1e3'], { f: '1e3' }],
    [['-f=.5'], { f: '.5' }],
    [['-f=5.'], { f: '5.' }],
    [['-f=+Inf'], { f: '+Inf' }],
    [['-f=-infinity'], { f: '-infinity' }],
    [['-f=nan'], { f: 'nan' }],
    [['-d=1m30s'], { d: '1m30s' }],
    [['-d=1.5µs'], { d: '1.5µs' }],
    [['-d=0'], { d: '0' }],
    [['-d=-1s'], { d: '-1s' }],
  ])('Go’s parser accepts %j', (args, values) => {
    expect(parse(args)).toEqual(values);
  });

  it.each<[string[], Record<string, string>]>([
    [['-b', 'false', '-s', 'x'], { b: 'true' }],
    [['x', '-b'], {}],
    [['-'], {}],
    [['', '-b'], {}],
    [['--', '-b'], {}],
    [['-b', '--', '-s'], { b: 'true' }],
    [['-b', '-', '-x'], { b: 'true' }],
  ])('parsing ends at the first argument that is no flag: %j', (args, values) => {
    expect(parse(args)).toEqual(values);
  });
});

describe('flags that Go refuses, in its words', () => {
  it.each<[string[], string]>([
    [['-b=yes'], 'invalid boolean value "yes" for -b: parse error'],
    [['-b='], 'invalid boolean value "" for -b: parse error'],
    [['-on=tRUE'], 'invalid boolean value "tRUE" for -on: parse error'],
    [['-s'], 'flag needs an argument: -s'],
    [['-b', '-s'], 'flag needs an argument: -s'],
    [['-i'], 'flag needs an argument: -i'],
    [['-i=x'], 'invalid value "x" for flag -i: parse error'],
    [['-i='], 'invalid value "" for flag -i: parse error'],
    [['-i=1.0'], 'invalid value "1.0" for flag -i: parse error'],
    [['-i= 1'], 'invalid value " 1" for flag -i: parse error'],
    [['-i=08'], 'invalid value "08" for flag -i: parse error'],
    [['-i', '--'], 'invalid value "--" for flag -i: parse error'],
    [['-f=x'], 'invalid value "x" for flag -f: parse error'],
    [['-f=1e'], 'invalid value "1e" for flag -f: parse error'],
    [['-f='], 'invalid value "" for flag -f: parse error'],
    [['-d=5'], 'invalid value "5" for flag -d: parse error'],
    [['-d='], 'invalid value "" for flag -d: parse error'],
    [['-d=1d'], 'invalid value "1d" for flag -d: parse error'],
    [['-d=1 s'], 'invalid value "1 s" for flag -d: parse error'],
    [['-x'], 'flag provided but not defined: -x'],
    [['--x=1'], 'flag provided but not defined: -x'],
    [['-B'], 'flag provided but not defined: -B'],
    [['-constructor'], 'flag provided but not defined: -constructor'],
    [['---b'], 'bad flag syntax: ---b'],
    [['-=x'], 'bad flag syntax: -=…'],
    [['--=x'], 'bad flag syntax: --=…'],
    // The first that is wrong is what is told.
    [['-b=yes', '-x'], 'invalid boolean value "yes" for -b: parse error'],
  ])('Go’s parser refuses %j', (args, message) => {
    expect(() => parse(args)).toThrow(new FlagError(message));
  });

  it.each([[['-h']], [['-help']], [['--help']], [['-h=1']], [['-b', '-help']]])(
    'Go’s parser answers %j with help',
    (args) => {
      expect(() => parse(args)).toThrow(HelpRequested);
    },
  );

  it('a flag of that name takes the place of help', () => {
    const flags: readonly GoFlag[] = [{ name: 'h', type: 'string', fallback: '', usage: 'a host' }];
    expect(parseGoFlags(['-h', 'x'], flags).get('h')).toBe('x');
    expect(() => parseGoFlags(['-help'], flags)).toThrow(HelpRequested);
  });
});

describe('numbers that Go accepts and this parser does not, because users do not spell ports or rates so', () => {
  it.each(['-i=0x10', '-i=010', '-i=0b11', '-i=0o17', '-i=1_000', '-i=00', '-f=0x1p4', '-f=1_0'])(
    'the parser refuses %s',
    (arg) => {
      expect(() => parse([arg])).toThrow(FlagError);
    },
  );
});

describe('the usage', () => {
  it('the usage is Go’s: sorted by name, with type, text and default', () => {
    expect(goUsage('prog', FLAGS)).toBe(
      [
        'Usage of prog:',
        '  -b\n    \ta switch',
        '  -d duration\n    \ta time (default 10m0s)',
        '  -f float\n    \ta number with a point (default +Inf)',
        '  -i int\n    \ta number (default 80)',
        '  -name string\n    \ta text with a default (default "a \\"b\\"")',
        '  -on\n    \ta switch that is on (default true)',
        '  -s string\n    \ta text',
        '',
      ].join('\n'),
    );
  });
});

describe('possible secrets', () => {
  it.each([
    [['-i', 'hunter2-is-my-password'], 'invalid value of 22 characters for flag -i: parse error'],
    [['-b=hunter2-is-my-password'], 'invalid boolean value of 22 characters for -b: parse error'],
    [['--=hunter2-is-my-password'], 'bad flag syntax: --=…'],
  ])('an error does not show a possible secret: %j', (args, message) => {
    expect(() => parse(args)).toThrow(new FlagError(message));
  });
});
