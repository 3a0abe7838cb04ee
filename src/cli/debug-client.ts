/** Asks for the pages below `/debug/` of a relay, for the commands that show them. */
import { readFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { reasonOf } from '../errors.js';
import { VERSION } from '../version.js';
import { connectTo, type Place, parsePin, placeOf, type Target, type Trust } from './relay-target.js';
import { addTargetOptions, type TargetOptions } from './target-options.js';
import { printable } from './terminal-text.js';

/** Milliseconds until the head of an answer. */
const PATIENCE = 10_000;
/** Bytes of an answer that is an error. */
const LONGEST_ERROR = 1000;

/** The options of {@link addDebugOptions}. */
export interface DebugOptions extends TargetOptions {
  readonly debugKeyFile?: string;
  /** Hex of a SHA-256. */
  readonly pin?: string;
}

/** Adds the options that say which relay is asked, and how. */
export function addDebugOptions(command: Command): Command {
  return addTargetOptions(command)
    .option('--debug-key-file <file>', 'file with the debug key, which the relay needs from afar (its debugKeyFile)')
    .addOption(
      new Option(
        '--pin <fingerprint>',
        'SHA-256 of the certificate, as sha256-raw:… of a DERP map, instead of its name and issuer',
      ).argParser((text) => {
        const pin = parsePin(text);
        if (pin === undefined) throw new InvalidArgumentError('It must be sha256-raw: and 64 hex digits.');
        return pin;
      }),
    );
}

export class DebugClient {
  private constructor(
    private readonly place: Place,
    private readonly trust: Trust,
    private readonly key: string | undefined,
  ) {}

  /** Throws if the options cannot be used together. The debug key goes to no relay that could be another one. */
  static of(target: Target, { debugKeyFile, pin }: DebugOptions): DebugClient {
    const place = placeOf(target);
    const { tls, isLoopback } = place;
    if (pin !== undefined && !tls) throw new Error('--pin is for https://');
    // A relay gives requests of its own machine access without a key.
    const file = debugKeyFile ?? (isLoopback ? undefined : target.own?.debugKeyFile);
    const key = file === undefined || file === '' ? undefined : readKey(file);
    if (key !== undefined && !tls && !isLoopback)
      throw new Error('the debug key would cross the network in the clear: use https://, or a tunnel to the relay');
    const isUnproven = isLoopback || (target.own !== undefined && key === undefined);
    return new DebugClient(place, pin !== undefined ? { pin } : isUnproven ? 'any' : 'roots', key);
  }

  /** The answer to a GET of a path below `/debug/`. Rejects if its status is not 200, with the status and the text. */
  async get(path: string, query: Readonly<Record<string, string>>, accept: string): Promise<IncomingMessage> {
    const late = new AbortController();
    const patience = setTimeout(() => late.abort(new Error(`no answer within ${PATIENCE / 1000} s`)), PATIENCE);
    try {
      const answer = await this.ask(`/debug/${path}${this.search(query)}`, accept, late.signal);
      if (answer.statusCode !== 200) throw await refusal(answer);
      return answer;
    } finally {
      clearTimeout(patience);
    }
  }

  private search(query: Readonly<Record<string, string>>): string {
    const search = new URLSearchParams(query);
    if (this.key !== undefined) search.set('debugkey', this.key);
    return search.size > 0 ? `?${search}` : '';
  }

  private async ask(path: string, accept: string, signal: AbortSignal): Promise<IncomingMessage> {
    const socket = await connectTo(this.place, this.trust, signal).catch((error) => {
      throw advised(error);
    });
    const headers = {
      host: this.place.authority,
      accept,
      'user-agent': `derpkit/${VERSION}`,
      connection: 'close',
    };
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => socket.destroy(signal.reason));
      // Without an agent, which would connect by itself.
      const asked = request({ path, headers, createConnection: () => socket });
      asked.on('response', resolve);
      asked.on('error', (error) => {
        socket.destroy();
        reject(signal.aborted ? signal.reason : error);
      });
      asked.end();
    });
  }
}

function readKey(file: string): string {
  let key: string;
  try {
    key = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new Error(`the debug key in ${file} cannot be read: ${reasonOf(error)}`);
  }
  if (key === '') throw new Error(`there is no debug key in ${file}`);
  return key;
}

/** Says what to do about a certificate that no root vouches for. */
function advised(error: unknown): unknown {
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (!/CERT|ISSUER|ALTNAME/.test(code)) return error;
  const name = /ALTNAME/.test(code) ? '--name says which name it is for, and ' : '';
  return new Error(
    `${message}; ${name}--pin takes a certificate by its fingerprint, which the relay logs at its start`,
  );
}

async function refusal(answer: IncomingMessage): Promise<Error> {
  let text = '';
  answer.setEncoding('utf8');
  for await (const chunk of answer) {
    text += chunk;
    if (text.length > LONGEST_ERROR) break;
  }
  answer.destroy();
  return new Error(`it answers ${answer.statusCode}: ${printable(text.slice(0, LONGEST_ERROR).trim())}`);
}
