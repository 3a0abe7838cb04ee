/**
 * `npm run fleet`: the relays, HAProxy and NATS of `packaging/compose/fleet.yaml` as processes of this machine, for a look: they
 * find each other, clients of all of them talk, one relay is killed and comes back, one drains, and NATS is killed. NATS is left
 * out where nats-server is not built. Ctrl-C ends it; with `--once` it ends by itself.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ensureBuilt, ensureInstalled, fail, say } from './ensure.mjs';

if (process.argv.includes('--help')) {
  console.log(
    'npm run fleet [-- --once]: three relays and HAProxy as processes of this machine; --once ends by itself',
  );
  process.exit(0);
}
ensureInstalled();
ensureBuilt();
const { Fleet, HOSTNAME, whyNoFleet } = await import('./fleet/fleet.mjs');
const { Client } = await import('./fleet/client.mjs');
const { Talk } = await import('./fleet/talk.mjs');
const { builtNats } = await import('./nats.mjs');

const missing = whyNoFleet();
if (missing) fail(missing);

const CLIENTS = 9;
/** Milliseconds that a step may take before the program gives up. */
const PATIENCE = 60_000;

const nats = builtNats();
const fleet = new Fleet(undefined, {}, nats);
const clients = [];
let talk;
let closing;

function close(status) {
  closing ??= (async () => {
    talk?.stop();
    for (const client of clients) client.close();
    await fleet.close();
    process.exit(status);
  })();
  return closing;
}

process.on('SIGINT', () => {
  say('ending');
  void close(0);
});
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => void close(0));
// The reader of a pipe has left.
process.stdout.on('error', () => void close(0));

const began = performance.now();
function tell(text) {
  console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${text}`);
}

/** What is worth a line of what the relays say. */
const WORTH = /mesh link (?:connected|lost)|draining|mesh source fails|another relay has the key|error/;
fleet.onEnd = (name, code) => {
  if (closing) return;
  const line = fleet.lastLine(name) ?? 'it said nothing';
  // The relay advises a setting, which is not this program's.
  const [, place] = /cannot listen on (\S+).*already in use/.exec(line) ?? [];
  if (place) say(`${name} cannot listen on ${place}: the port is taken, perhaps by npm start or another npm run fleet`);
  else say(`${name} has ended with status ${code}: ${line}`);
  void close(1);
};
fleet.onLine = (name, line) => {
  if (WORTH.test(line)) tell(`        ${name}: ${line.replace(/^\S+ \S+ /, '')}`);
};

async function until(what, check) {
  const end = performance.now() + PATIENCE;
  while (!(await check())) {
    if (closing) await new Promise(() => {});
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await delay(50);
  }
}

/** Whether every relay that runs is connected to all others that run. */
async function meshed() {
  const running = fleet.relays.filter(({ name }) => fleet.isRunning(name));
  if (running.length === 0) return false;
  const figures = await Promise.all(running.map(({ name }) => fleet.figures(name).catch(() => new Map())));
  return figures.every((each) => each.get('derpkit_mesh_links{state="connected"}') === running.length - 1);
}

/** How many clients each relay has. */
function spread() {
  const counts = new Map();
  for (const { relay = 'none' } of clients) counts.set(relay, (counts.get(relay) ?? 0) + 1);
  return [...counts.values()].join(' + ');
}

async function scene(title, act) {
  tell(title);
  await act();
}

async function measured(seconds) {
  const { sent, received, outOfOrder } = await talk.during(seconds * 1000);
  tell(`        ${sent} packets between clients of all relays, ${received} arrived, ${outOfOrder} out of order`);
  return sent - received;
}

async function show() {
  const others = `HAProxy,${nats ? ' NATS' : ''} and a DNS server`.replace(', and', ' and');
  if (!nats) tell('without NATS: nats-server is not built; npm run test:long builds it');
  await scene(`starting ${fleet.relays.length} relays, ${others}`, async () => {
    await fleet.start();
    await until('a mesh', meshed);
    tell('        they have found each other');
  });
  await scene(`${CLIENTS} clients come through HAProxy, at 127.0.0.1:${fleet.port}`, async () => {
    const target = { host: '127.0.0.1', port: fleet.port, servername: HOSTNAME, ca: readFileSync(fleet.authority) };
    for (let count = 0; count < CLIENTS; count++) {
      clients.push(new Client(target));
      await until('a client', () => clients.at(-1).relay !== undefined);
    }
    talk = new Talk(clients);
    await until('ways between all clients', () => talk.reaches());
    tell(`        the relays have ${spread()} clients`);
    if ((await measured(3)) > 0) throw new Error('packets are missing, although nothing was done');
  });
  const [, victim, leaver] = fleet.relays.map(({ name }) => name);
  await scene(`${victim} is killed`, async () => {
    await fleet.stop(victim, 'SIGKILL');
    await until('clients to be back', () => clients.every(({ relay }) => relay !== undefined));
    await until('ways between all clients', () => talk.reaches());
    tell(`        its clients are back: ${spread()}`);
    if ((await measured(2)) > 0) throw new Error('packets are missing, although all clients are back');
  });
  await scene(`${victim} comes back`, async () => {
    fleet.startRelay(victim);
    await until('a mesh', meshed);
    if ((await measured(2)) > 0) throw new Error('packets are missing, although a relay only came');
  });
  await scene(`${leaver} gets SIGTERM, drains and ends`, async () => {
    await fleet.stop(leaver);
    await until('clients to be back', () => clients.every(({ relay }) => relay !== undefined));
    await until('ways between all clients', () => talk.reaches());
    tell(`        its clients are back: ${spread()}`);
    fleet.startRelay(leaver);
    await until('a mesh', meshed);
    await measured(2);
  });
  if (nats) await withoutNats();
}

/** Whether NATS names relays, at every relay. */
async function named() {
  const figures = await Promise.all(fleet.relays.map(({ name }) => fleet.figures(name).catch(() => new Map())));
  return figures.map((each) => each.get('derpkit_mesh_source_up{source="nats"}'));
}

async function withoutNats() {
  await scene('NATS is killed', async () => {
    await fleet.stop('nats', 'SIGKILL');
    await until('relays to notice', async () => (await named()).every((up) => up === 0));
    if ((await measured(2)) > 0) throw new Error('packets are missing, although they do not go through NATS');
    fleet.startNats();
    await until('relays to be connected to NATS', async () => (await named()).every((up) => up === 1));
    tell('        it comes back, and the relays are connected again');
  });
}

try {
  await show();
  if (process.argv.includes('--once')) {
    await close(0);
  } else {
    tell('it stays for a look; Ctrl-C ends it');
    for (const { name } of fleet.relays) tell(`        https://${fleet.addressOf(name)}:8443/debug/ is ${name}`);
    while (!closing) {
      await measured(10);
      tell(`        the relays have ${spread()} clients`);
    }
  }
} catch (error) {
  if (!closing) say(error.message);
  await close(1);
}
