/* The live page of a relay: takes a sample a second from the relay, and draws the last five minutes. */

const KEPT = 300;
const query = document.body.dataset.query;
const COLOURS = ['#2f7ed8', '#e07b00', '#2a9d5c', '#c2255c', '#7048e8', '#868e96', '#0b7285', '#a16207'];

/** What is drawn: for each figure the lines, as functions of a sample and the one before it. */
const PLOTS = [
  { id: 'packets', title: 'Packets a second', lines: { in: rate((s) => s.packetsIn), out: rate((s) => s.packetsOut) } },
  { id: 'bits', title: 'Bits a second', lines: { in: rate((s) => s.bytesIn * 8), out: rate((s) => s.bytesOut * 8) } },
  { id: 'clients', title: 'Clients', lines: { connections: (s) => s.connections, home: (s) => s.home } },
  { id: 'drops', title: 'Packets dropped a second, by reason', lines: {}, from: 'drops' },
  {
    id: 'logins',
    title: 'Logins a second',
    lines: { admitted: rate((s) => s.admitted), failed: rate((s) => s.failed), refused: rate((s) => s.refused) },
  },
  { id: 'failures', title: 'Handshakes and logins failed a second, by cause', lines: {}, from: 'failures' },
  { id: 'delay', title: 'Mean delay in queues, ms', lines: { delay: (s) => s.queueDelay } },
  { id: 'cpu', title: 'Processor, % of one core', lines: { cpu: rate((s) => s.cpu * 100) } },
  { id: 'memory', title: 'Memory, MB', lines: { resident: (s) => s.memory / 1e6 } },
];

/** A counter's growth in a second. */
function rate(of) {
  return (sample, before) => (before ? Math.max(0, of(sample) - of(before)) / (sample.time - before.time) : null);
}

const element = (id) => document.getElementById(id);
const make = (name, text) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
};
const clock = new Intl.DateTimeFormat('en', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const ink = () => getComputedStyle(document.documentElement).getPropertyValue('--faint');

let samples = [];
let paused = false;
const charts = new Map();

/** One plot with its lines; it follows the width of its figure. */
class Chart {
  constructor(parent, title, names) {
    this.names = names;
    this.figure = make('figure');
    this.figure.append(make('figcaption', title));
    this.place = make('div');
    this.place.setAttribute('role', 'img');
    this.figure.append(this.place);
    parent.append(this.figure);
    const axis = () => ({
      stroke: ink,
      grid: { stroke: () => getComputedStyle(document.documentElement).getPropertyValue('--line') },
    });
    this.plot = new uPlot(
      {
        width: this.width,
        height: 170,
        legend: { live: true },
        axes: [
          { ...axis(), space: 90, size: 28, values: (_, ticks) => ticks.map((tick) => clock.format(tick * 1000)) },
          { ...axis(), size: 56, values: (_, ticks) => ticks.map((tick) => compact.format(tick)) },
        ],
        scales: { y: { range: (_, _low, high) => [0, Math.max(high, 1) * 1.05] } },
        series: [
          {},
          ...names.map((name, index) => ({
            label: name,
            stroke: COLOURS[index % COLOURS.length],
            width: 1.5,
            points: { show: false },
            value: (_, value) => (value === null ? '–' : compact.format(value)),
          })),
        ],
      },
      [[], ...names.map(() => [])],
      this.place,
    );
    new ResizeObserver(() => this.plot.setSize({ width: this.width, height: 170 })).observe(this.figure);
  }

  get width() {
    return Math.max(200, this.figure.clientWidth - 16);
  }

  show(times, values, title) {
    this.plot.setData([times, ...values]);
    const last = values.map((line, index) => `${this.names[index]} ${format(line.at(-1))}`).join(', ');
    this.place.setAttribute('aria-label', `${title}: ${last}`);
    this.place.dataset.points = String(times.length);
  }

  remove() {
    this.plot.destroy();
    this.figure.remove();
  }
}

function format(value) {
  return value === null || value === undefined ? '–' : compact.format(value);
}

function draw() {
  if (paused || samples.length === 0) return;
  const times = samples.map(({ time }) => time);
  for (const { id, title, lines, from } of PLOTS) {
    const drawn = from ? linesFrom(from) : lines;
    const names = Object.keys(drawn);
    let chart = charts.get(id);
    if (!chart || chart.names.join() !== names.join()) {
      chart?.remove();
      chart = new Chart(element('plots'), title, names);
      chart.figure.style.order = String(PLOTS.findIndex((plot) => plot.id === id));
      chart.place.id = `plot-${id}`;
      charts.set(id, chart);
    }
    const values = Object.values(drawn).map((line) => samples.map((sample, index) => line(sample, samples[index - 1])));
    chart.show(times, values, title);
  }
  facts(element('now'), nowFacts(samples.at(-1), samples.at(-2)));
}

/** A line for each reason that has occurred. */
function linesFrom(name) {
  const reasons = [
    ...new Set(samples.flatMap((sample) => Object.keys(sample[name]).filter((reason) => sample[name][reason] > 0))),
  ];
  const shown = reasons.length > 0 ? reasons.sort() : ['none'];
  return Object.fromEntries(shown.map((reason) => [reason, rate((sample) => sample[name][reason] ?? 0)]));
}

function nowFacts(sample, before) {
  const second = (of) => format(rate(of)(sample, before));
  return {
    clients: String(sample.connections),
    'node keys': String(sample.keys),
    'packets in / s': second((s) => s.packetsIn),
    'packets out / s': second((s) => s.packetsOut),
    'bits in / s': second((s) => s.bytesIn * 8),
    'packets in, all': String(sample.packetsIn),
    'packets out, all': String(sample.packetsOut),
    'dropped, all': String(Object.values(sample.drops).reduce((sum, count) => sum + count, 0)),
    'logins failed, all': String(sample.failed),
    processor: `${second((s) => s.cpu * 100)} %`,
    memory: `${(sample.memory / 1e6).toFixed(0)} MB`,
    'links of other relays': String(sample.links),
    ...Object.fromEntries(sample.mesh.map(({ relay, state, peers }) => [`mesh: ${relay}`, `${state}, ${peers} keys`])),
  };
}

function facts(list, given) {
  const known = new Map([...list.children].map((entry) => [entry.dataset.name, entry]));
  for (const [name, value] of Object.entries(given)) {
    let entry = known.get(name);
    if (!entry) {
      entry = make('div');
      entry.dataset.name = name;
      entry.append(make('dt', name), make('dd'));
      list.append(entry);
    }
    entry.lastChild.textContent = value;
    known.delete(name);
  }
  for (const gone of known.values()) gone.remove();
}

/* The table of the busiest clients. */

const COLUMNS = [
  ['key', 'Node key', (row) => row.key, (row) => row.key.replace('nodekey:', '').slice(0, 16)],
  ['app', 'App', (row) => row.app],
  ['address', 'Address', (row) => row.address],
  ['rxRate', 'bit/s from it', (row) => row.rxRate, (row) => format(row.rxRate)],
  ['txRate', 'bit/s to it', (row) => row.txRate, (row) => format(row.txRate)],
  ['rxBytes', 'Bytes from it', (row) => row.rxBytes, (row) => format(row.rxBytes)],
  ['txBytes', 'Bytes to it', (row) => row.txBytes, (row) => format(row.txBytes)],
  ['queued', 'Queued', (row) => row.queued],
  ['dropped', 'Dropped', (row) => row.dropped],
];
let busiest = [];
let sorted = { by: 'rxRate', descending: true };

function heads() {
  const row = element('busiest').tHead.rows[0];
  row.replaceChildren(
    ...COLUMNS.map(([name, title]) => {
      const head = make('th');
      head.scope = 'col';
      if (sorted.by === name) head.setAttribute('aria-sort', sorted.descending ? 'descending' : 'ascending');
      const button = make('button', title);
      button.type = 'button';
      button.dataset.column = name;
      button.addEventListener('click', () => {
        sorted = { by: name, descending: sorted.by === name ? !sorted.descending : true };
        heads();
        rows();
        element('busiest').querySelector(`[data-column="${name}"]`).focus();
      });
      head.append(button);
      return head;
    }),
  );
}

function rows() {
  const [, , of] = COLUMNS.find(([name]) => name === sorted.by);
  const order = (one, other) => (of(one) < of(other) ? -1 : of(one) > of(other) ? 1 : 0) * (sorted.descending ? -1 : 1);
  const body = element('busiest').tBodies[0];
  // A button that has the focus keeps it: rows are filled anew, not made anew.
  const shown = [...busiest].sort(order);
  while (body.rows.length > shown.length) body.deleteRow(-1);
  shown.forEach((client, index) => {
    const row = body.rows[index] ?? newRow(body);
    row.dataset.key = client.key;
    COLUMNS.forEach(([name, , value, text], column) => {
      const cell = row.cells[column];
      const wanted = String((text ?? value)(client));
      const holder = name === 'key' ? cell.firstChild : cell;
      if (holder.textContent !== wanted) holder.textContent = wanted;
    });
  });
}

function newRow(body) {
  const row = body.insertRow();
  for (const [name] of COLUMNS) {
    const cell = row.insertCell();
    if (name !== 'key') continue;
    const button = make('button');
    button.type = 'button';
    button.addEventListener('click', () => openClient(row.dataset.key));
    cell.append(button);
  }
  return row;
}

/* The page of one client. */

let client;

async function openClient(key) {
  closeClient();
  const chart = new Chart(element('client-plot'), 'Bits a second', ['from it', 'to it']);
  client = { key, chart, seen: [] };
  element('client').hidden = false;
  element('client-key').textContent = key;
  element('client').scrollIntoView({ block: 'nearest' });
  const own = client;
  own.timer = setInterval(() => look(own), 1000);
  await look(own);
}

async function look(own) {
  const search = new URLSearchParams(query);
  search.set('key', own.key);
  const answer = await fetch(`/debug/clients.json?${search}`).catch(() => undefined);
  if (client !== own || !answer?.ok) return;
  const { clients } = await answer.json();
  if (client !== own) return;
  const time = Date.now() / 1000;
  const sum = (of) => clients.reduce((all, each) => all + of(each), 0);
  own.seen.push({ time, rx: sum((each) => each.received.bytes) * 8, tx: sum((each) => each.sent.bytes) * 8 });
  if (own.seen.length > KEPT) own.seen.shift();
  const line = (of) => own.seen.map((sample, index) => rate(of)(sample, own.seen[index - 1]));
  if (!paused)
    own.chart.show(
      own.seen.map((sample) => sample.time),
      [line((s) => s.rx), line((s) => s.tx)],
      'Bits a second',
    );
  const flags = (each) =>
    ['active', 'duplicate', 'home', 'mesh', 'prober', 'notIdeal'].filter((name) => each[name]).join(', ');
  const given = { connections: String(clients.length) };
  for (const each of clients) {
    given[`connection ${each.id}`] = [
      `${each.address} port ${each.port}`,
      each.tls ? `TLS ${each.tls}` : 'plain',
      each.app,
      flags(each),
      `since ${new Date(each.connectedAt).toLocaleString()}`,
      `${each.received.packets} packets from it, ${each.sent.packets} to it`,
      `${each.queued} queued, ${each.dropped} dropped`,
    ]
      .filter((text) => text !== '')
      .join(' · ');
  }
  facts(element('client-facts'), given);
}

function closeClient() {
  if (!client) return;
  clearInterval(client.timer);
  client.chart.remove();
  client = undefined;
  element('client').hidden = true;
}

element('client-close').addEventListener('click', closeClient);
document.addEventListener('keydown', ({ key }) => key === 'Escape' && closeClient());
element('pause').addEventListener('click', () => {
  paused = !paused;
  element('pause').setAttribute('aria-pressed', String(paused));
  element('pause').textContent = paused ? 'Go on' : 'Pause';
  draw();
});

/* The feed. The browser connects again by itself. */

heads();
const feed = new EventSource(`/debug/live/events${query}`);
feed.addEventListener('open', () => {
  element('state').textContent = 'live';
});
feed.addEventListener('error', () => {
  element('state').textContent = 'no connection to the relay; trying again …';
});
feed.addEventListener('history', ({ data }) => {
  samples = JSON.parse(data);
  draw();
});
feed.addEventListener('figures', ({ data }) => {
  samples.push(JSON.parse(data));
  if (samples.length > KEPT) samples.shift();
  draw();
});
feed.addEventListener('busiest', ({ data }) => {
  if (paused) return;
  busiest = JSON.parse(data);
  rows();
});
