/** Runs a program and follows its results, until it ends or its time is over. */
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync, readFileSync } from 'node:fs';

const LOOK_EVERY = 2_000;
/** Milliseconds that a program has to end after SIGTERM. */
const LAST_WORDS = 15_000;

/** Calls `look` at intervals, and once after the end. The program's output goes to the file `log`. */
export async function follow([command, ...args], { cwd, env, log, deadline, look }) {
  const output = createWriteStream(log);
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.pipe(output, { end: false });
  child.stderr.pipe(output, { end: false });
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const stop = () => {
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), LAST_WORDS).unref();
  };
  let interrupted = false;
  const interrupt = () => {
    interrupted = true;
    stop();
  };
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const reader = lineReader();
  const looking = setInterval(() => {
    look(reader);
    if (Date.now() > deadline) stop();
  }, LOOK_EVERY);
  try {
    const status = await ended;
    look(reader);
    if (interrupted) process.exit(130);
    return status;
  } finally {
    clearInterval(looking);
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
    output.end();
  }
}

/** Reads the complete lines that a file has gained since the last call. */
function lineReader() {
  let taken = 0;
  return {
    lines(file) {
      if (!existsSync(file)) return [];
      const text = readFileSync(file, 'utf8');
      const end = text.lastIndexOf('\n') + 1;
      const fresh = text.slice(taken, end);
      taken = Math.max(taken, end);
      return fresh.split('\n').filter(Boolean);
    },
  };
}
