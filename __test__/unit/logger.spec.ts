import { Writable } from 'node:stream';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { createLogger, LOG_LEVELS, type Logger, type LogLevel, setLogLevel, toggleDebug } from '../../src/logger.js';

function lines(format: 'text' | 'json', level: LogLevel, use: (logger: Logger) => void): string[] {
  const written: string[] = [];
  const out = new Writable({
    write(chunk, _encoding, done) {
      written.push(String(chunk));
      done();
    },
  });
  use(createLogger({ format, level }, out));
  // Each write is one whole line, so that the log of a crash ends with the last line before it.
  for (const line of written) expect(line).toMatch(/^[^\n][\s\S]*\n$/);
  return written.map((line) => line.slice(0, -1));
}

it('the logger goes on when its output fails', async () => {
  let failures = 0;
  const full = new Writable({
    autoDestroy: false,
    write(_chunk, _encoding, done) {
      failures += 1;
      done(new Error('no space left'));
    },
  });
  const logger = createLogger({ format: 'text', level: 'info' }, full);
  for (const line of ['one', 'two']) {
    logger.info(line);
    await new Promise(setImmediate);
  }
  expect(failures).toBeGreaterThan(0);
});

const STAMP = /^\d{4}\/\d{2}\/\d{2} \d{2}:\d{2}:\d{2} /;

describe('the text format', () => {
  const text = (use: (logger: Logger) => void) => {
    const written = lines('text', 'trace', use);
    for (const line of written) expect(line).toMatch(STAMP);
    return written.map((line) => line.replace(STAMP, ''));
  };

  it('a text line has derper’s form: a local time, and the text', () => {
    const before = new Date();
    const [line] = lines('text', 'info', (logger) => logger.info('serving STUN'));
    const after = new Date();
    const [, ...parts] = /^(\d+)\/(\d+)\/(\d+) (\d+):(\d+):(\d+) serving STUN$/.exec(line ?? '') ?? [];
    const [year, month, day, hour, minute, second] = parts.map(Number) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const said = new Date(year, month - 1, day, hour, minute, second).getTime();
    expect(said).toBeGreaterThanOrEqual(before.getTime() - 1000);
    expect(said).toBeLessThanOrEqual(after.getTime());
  });

  it('a text line names its level, except info', () => {
    const written = text((logger) => {
      logger.trace('t');
      logger.debug('d');
      logger.info('i');
      logger.warn('w');
      logger.error('e');
    });
    expect(written).toEqual(['trace: t', 'debug: d', 'i', 'warn: w', 'error: e']);
  });

  it('a text line ends with fields in their order, quoted where necessary', () => {
    const written = text((logger) => {
      logger.info({ a: 'word', b: 'two words', c: '', d: 'x=1', e: 'say "x"', f: 7, g: true, h: null }, 'text');
      logger.info({ list: [1, 2], object: { a: 'b' }, line: 'a\nb' }, 'text');
    });
    expect(written).toEqual([
      'text a=word b="two words" c="" d="x=1" e="say \\"x\\"" f=7 g=true h=null',
      'text list=[1,2] object.a=b line="a\\nb"',
    ]);
  });

  it('a text line has no control characters, wherever they come from', () => {
    const written = text((logger) => {
      logger.info(
        { a: '\x1b[2J', b: 'x\x07y', c: '\u009b1m', d: '\u202eevil', e: 'a b\x7f', f: ['\x1b\u0085'] },
        'te\x1bxt',
      );
      logger.info({ app: '\u{e0041}', name: 'größe' }, 'text');
    });
    expect(written).toEqual([
      'te\\u001bxt a="\\u001b[2J" b="x\\u0007y" c="\\u009b1m" d="\\u202eevil" e="a b\\u007f" f=["\\u001b\\u0085"]',
      'text app="\\udb40\\udc41" name=größe',
    ]);
  });

  it('a text line with an error ends with its stack', () => {
    const [line] = text((logger) => logger.error({ err: new Error('broken'), id: 3 }, 'text'));
    expect(line).toMatch(/^error: text id=3 Error: broken\n\s+at /);
  });

  it('a text line may have fields alone', () => {
    expect(text((logger) => logger.info({ a: 1 }))).toEqual([' a=1']);
  });
});

describe('the JSON format', () => {
  it('a JSON line is one object, without process and host', () => {
    const [line = ''] = lines('json', 'info', (logger) => logger.warn({ client: '[abc]' }, 'text'));
    const { time, ...rest } = JSON.parse(line);
    expect(rest).toEqual({ level: 40, client: '[abc]', msg: 'text' });
    expect(Math.abs(time - Date.now())).toBeLessThan(60_000);
  });
});

describe('levels', () => {
  it.each(LOG_LEVELS)('the level %s omits the levels below', (level) => {
    const all = ['trace', 'debug', 'info', 'warn', 'error'] as const;
    const written = lines('json', level, (logger) => {
      for (const each of all) logger[each](each);
    });
    expect(written.map((line) => JSON.parse(line).msg)).toEqual(all.slice(LOG_LEVELS.indexOf(level)));
  });
});

describe('a level that changes', () => {
  it('a change of level applies to children of a logger, and to their children', () => {
    const written = lines('text', 'warn', (logger) => {
      const child = logger.child({ part: 'a' });
      const [grandchild, own] = [child.child({ sub: 'b' }), logger.child({ part: 'c' }, { level: 'error' })];
      const all = [logger, child, grandchild, own];
      setLogLevel(logger, 'debug');
      for (const each of all) each.debug('said');
      setLogLevel(logger, 'error');
      for (const each of all) each.warn('not said');
    });
    expect(written.map((line) => line.slice(20))).toEqual([
      'debug: said',
      'debug: said part=a',
      'debug: said part=a sub=b',
      'debug: said part=c',
    ]);
  });

  it.each([
    ['info', ['debug: debug logging is on', 'debug logging is off: the level is info', 'debug: debug logging is on']],
    [
      'error',
      ['debug: debug logging is on', 'error: debug logging is off: the level is error', 'debug: debug logging is on'],
    ],
    ['silent', ['debug: debug logging is on', 'debug: debug logging is on']],
    [
      'debug',
      [
        'debug logging is off: the level is info',
        'debug: debug logging is on',
        'debug logging is off: the level is info',
      ],
    ],
    [
      'trace',
      [
        'debug logging is off: the level is info',
        'trace: debug logging is on',
        'debug logging is off: the level is info',
      ],
    ],
  ] as const)('toggleDebug switches between debug and %s, and logs it', (level, expected) => {
    const written = lines('text', level, (logger) => {
      for (let times = 0; times < 3; times++) toggleDebug(logger);
    });
    expect(written.map((line) => line.slice(20))).toEqual(expected);
  });

  it('toggleDebug returns to the level that was set last', () => {
    const written = lines('text', 'info', (logger) => {
      toggleDebug(logger);
      setLogLevel(logger, 'warn');
      logger.info('not said');
      toggleDebug(logger);
      toggleDebug(logger);
    });
    expect(written.map((line) => line.slice(20))).toEqual([
      'debug: debug logging is on',
      'debug: debug logging is on',
      'warn: debug logging is off: the level is warn',
    ]);
  });

  it('the logger of an embedding program keeps its level', () => {
    const logger = pino({ level: 'warn' }, { write: () => expect.unreachable() });
    toggleDebug(logger);
    setLogLevel(logger, 'trace');
    expect(logger.level).toBe('warn');
  });
});

describe('the destination of the log', () => {
  it('the log goes to standard error, and leaves standard output to results', () => {
    const written: string[] = [];
    const write = process.stderr.write;
    process.stderr.write = ((text: string) => written.push(text) > 0) as typeof write;
    try {
      createLogger({ format: 'text', level: 'info' }).info('text');
    } finally {
      process.stderr.write = write;
    }
    expect(written).toHaveLength(1);
  });
});
