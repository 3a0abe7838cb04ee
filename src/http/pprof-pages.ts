/** `/debug/pprof/`: what derper has of Go's profiler, and this process of V8's. */
import type { ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { getHeapSnapshot } from 'node:v8';
import { pprofOf, recordCpu } from './cpu-profile.js';
import { DEBUG_HEADERS, HTML, sendError, sendPage } from './responses.js';

/** Seconds of a profile, unless the query says how many, and at most. Go's are 30. */
const USUAL = 30;
const MOST = 300;
/** Milliseconds for an answer behind its profile, on a connection that was silent meanwhile. */
const GRACE = 30_000;

let isRecording = false;
let isDumping = false;

const INDEX = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>profiles</title></head>
<body><h1>profiles</h1><ul>
<li><a href="profile?seconds=30">profile?seconds=30</a>: where the time of the JavaScript thread goes, for <code>go tool pprof</code></li>
<li><a href="profile?seconds=30&amp;format=cpuprofile">profile?seconds=30&amp;format=cpuprofile</a>: the profile for the DevTools of Chrome</li>
<li>heapsnapshot: every object of JavaScript, for the DevTools of Chrome. It can contain private keys, and stops the thread for a
while: the debug key alone gives access.</li>
</ul></body></html>
`;

export async function sendProfiles(response: ServerResponse): Promise<void> {
  sendPage(response, HTML, INDEX, DEBUG_HEADERS);
}

/** Records for `?seconds=`, and sends a gzipped pprof, or with `?format=cpuprofile` the JSON of the DevTools. One at a time. */
export async function sendCpuProfile(response: ServerResponse, query: string): Promise<void> {
  const given = new URLSearchParams(query);
  const [seconds, format] = [Number(given.get('seconds') || USUAL), given.get('format') || 'pprof'];
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > MOST) {
    sendError(response, 400, `seconds must be a whole number from 1 to ${MOST}`, DEBUG_HEADERS);
  } else if (format !== 'pprof' && format !== 'cpuprofile') {
    sendError(response, 400, 'format must be pprof or cpuprofile', DEBUG_HEADERS);
  } else if (isRecording) {
    sendError(response, 409, 'a profile is being recorded already: try again when it is done', DEBUG_HEADERS);
  } else if (response.req.method === 'HEAD') {
    response.writeHead(200, headersOf(format)).end();
  } else {
    isRecording = true;
    try {
      await record(response, seconds, format);
    } finally {
      isRecording = false;
    }
  }
}

type Format = 'pprof' | 'cpuprofile';

async function record(response: ServerResponse, seconds: number, format: Format): Promise<void> {
  const left = new AbortController();
  response.once('close', () => left.abort());
  // The server closes connections that are silent for less than this.
  response.setTimeout(seconds * 1000 + GRACE);
  const start = Date.now();
  const profile = await recordCpu(seconds * 1000, left.signal);
  if (left.signal.aborted) return;
  const body = format === 'pprof' ? await pprofOf(profile, start) : Buffer.from(JSON.stringify(profile));
  response.writeHead(200, { ...headersOf(format), 'Content-Length': body.length }).end(body);
}

function headersOf(format: Format) {
  return format === 'pprof'
    ? attachment('profile.pb.gz', 'application/octet-stream')
    : attachment('derpkit.cpuprofile', 'application/json');
}

/** Sends every object of JavaScript, for the Memory panel of the DevTools. V8 stops the thread while it looks at them. */
export async function sendHeapSnapshot(response: ServerResponse): Promise<void> {
  if (isDumping) {
    sendError(response, 409, 'a snapshot is being sent already: try again when it is done', DEBUG_HEADERS);
    return;
  }
  isDumping = true;
  try {
    response.writeHead(200, attachment('derpkit.heapsnapshot', 'application/json'));
    await pipeline(getHeapSnapshot(), response);
  } catch (error) {
    // The client has left.
    if (!response.destroyed) throw error;
  } finally {
    isDumping = false;
  }
}

function attachment(name: string, type: string) {
  return {
    ...DEBUG_HEADERS,
    'Content-Type': type,
    'Content-Disposition': `attachment; filename="${name}"`,
    'Cache-Control': 'no-store',
  };
}
