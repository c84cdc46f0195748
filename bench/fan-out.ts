import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Order } from './fan-out-client.ts';
import { createLogFixture, type LogFixture } from './fan-out-ours.ts';
import { median, type Row, report, rounded } from './report.ts';

/**
 * One topic and many subscribers: what an event costs the server for each of them (user and system time of its process), and what an idle
 * subscriber weighs. Every contestant tells the same lines; each is a process of its own, and they take turns.
 */
const SUBSCRIBERS = (process.env.FAN_OUT_SUBSCRIBERS ?? '1000,5000').split(',').map(Number);
const ROUNDS = Number(process.env.FAN_OUT_ROUNDS ?? 3);
/** Places of the contestants that take part; all without it. */
const ONLY = process.env.FAN_OUT_ONLY?.split(',').map(Number);
/** Deliveries a measurement: enough for the clock of the kernel, which counts in hundredths of a second. */
const DELIVERIES = 40_000;
const FLOOD_LINES = 2_000;
const CLOCK_TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;
const SETTLE_MS = 1_000;
const IDLE_SHARE = 0.08;
const WARM_SUBSCRIBERS = 50;

const folder = dirname(fileURLToPath(import.meta.url));

type Contestant = AsyncDisposable & {
  name: string;
  pid: number;
  url: string;
  subprotocol: string | null;
  tokens: string[];
  payloads: object[];
  /** Writes so many lines at once. */
  emit(lines: number): void | Promise<void>;
};
type Figures = { perEvent: Map<number, number>; perFloodLine: number; idleBytes: number };

await using fixture = await createLogFixture();
const contestants: Array<() => Promise<Contestant>> = [
  () => peer('raw ws, one ready frame', 'fan-out-raw.mjs', null, ['frame']),
  () => peer('raw ws, send()', 'fan-out-raw.mjs', null, ['send']),
  async () => ours(fixture),
  () => peer('Mercurius', 'fan-out-mercurius.mjs', 'graphql-transport-ws'),
  () => peer('graphql-ws for each', 'fan-out-graphql-ws.mjs', 'graphql-transport-ws'),
  async () => unshared(fixture),
];

const measured: object[] = [];
const rows: Row[] = [];
for (const subscribers of SUBSCRIBERS) {
  const all = new Map<string, Figures[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const create of contestants.filter((_, index) => !ONLY || ONLY.includes(index))) {
      await using contestant = await create();
      const figures = await measure(contestant, subscribers);
      console.log(
        `${subscribers} subscribers, ${contestant.name}: ${[...figures.perEvent].map(([lines, us]) => `${rounded(us)} µs an event of ${lines}`).join(', ')}, ${rounded(figures.perFloodLine)} µs a line under load, ${rounded(figures.idleBytes / 1024)} KiB idle`,
      );
      all.set(contestant.name, [...(all.get(contestant.name) ?? []), figures]);
    }
  }
  compare(subscribers, all);
}
report('fan-out', rows, { measured });

async function measure(contestant: Contestant, subscribers: number): Promise<Figures> {
  const { pid, url, subprotocol, tokens, payloads } = contestant;
  const open = (count: number) => ({ open: { url, subprotocol, count, tokens, payloads } });
  // What is loaded and compiled once is nobody's weight.
  await using first = createClient();
  await first.ask(open(WARM_SUBSCRIBERS));
  await first[Symbol.asyncDispose]();
  await settle(pid);
  const before = residentBytes(pid);
  await using client = createClient();
  const { ask } = client;
  await ask(open(subscribers));
  await settle(pid);
  const idleBytes = (residentBytes(pid) - before) / subscribers;
  let told = 0;
  const tell = async (lines: number) => {
    told += lines;
    const reached = ask({ expect: told });
    await contestant.emit(lines);
    await reached;
  };
  const perEvent = new Map<number, number>();
  for (const lines of [1, 20]) {
    for (let warm = 0; warm < 5; warm++) await tell(lines);
    const events = Math.ceil(DELIVERIES / subscribers);
    const begun = cpuMicroseconds(pid);
    for (let event = 0; event < events; event++) await tell(lines);
    perEvent.set(lines, (cpuMicroseconds(pid) - begun) / events / subscribers);
  }
  const begun = cpuMicroseconds(pid);
  const floodLines = Math.min(FLOOD_LINES, Math.ceil((DELIVERIES * 4) / subscribers));
  told += floodLines;
  const reached = ask({ expect: told });
  // Each line by itself, as a program writes them: whoever can tells several at once.
  for (let line = 0; line < floodLines; line++) await contestant.emit(1);
  await reached;
  return { perEvent, perFloodLine: (cpuMicroseconds(pid) - begun) / floodLines / subscribers, idleBytes };
}

type Client = AsyncDisposable & { ask(order: Order): Promise<{ most?: number }> };

/** Subscribers in a process of their own, which end with it. */
function createClient(): Client {
  const child = fork(join(folder, 'fan-out-client.ts'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  return {
    async ask(order) {
      child.send(order);
      const [answer] = await once(child, 'message');
      return answer;
    },
    async [Symbol.asyncDispose]() {
      if (!child.connected) return;
      child.disconnect();
      await once(child, 'exit');
    },
  };
}

/** Until a process has nothing left to do: what was asked for last is done by then. */
async function settle(pid: number): Promise<void> {
  for (let before = cpuMicroseconds(pid), used = Number.POSITIVE_INFINITY; used > IDLE_SHARE * SETTLE_MS * 1_000; ) {
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const now = cpuMicroseconds(pid);
    used = now - before;
    before = now;
  }
}

async function peer(name: string, file: string, subprotocol: string | null, args: string[] = []): Promise<Contestant> {
  const { DOCUMENT } = await import(join(folder, 'peers/lines.mjs'));
  const child: ChildProcess = fork(join(folder, 'peers', file), args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return {
    name,
    pid: child.pid!,
    url: `ws://127.0.0.1:${port}/graphql`,
    subprotocol,
    tokens: [],
    payloads: [{ query: DOCUMENT }],
    emit: (lines) => void child.send({ lines }),
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await once(child, 'exit');
    },
  };
}

async function ours(from: LogFixture): Promise<Contestant> {
  const run = await from.start();
  return { name: 'WindFlow', ...run, payloads: [from.payload({})] };
}

/** The same, when no two subscribers ask for the same: each has its own execution. */
async function unshared(from: LogFixture): Promise<Contestant> {
  const run = await from.start();
  const payloads = Array.from({ length: Math.max(...SUBSCRIBERS) }, (_, index) =>
    from.payload({ since: new Date(index).toISOString() }),
  );
  return { name: 'WindFlow, nothing shared', ...run, payloads };
}

function compare(subscribers: number, all: Map<string, Figures[]>): void {
  const of = (name: string, figure: (figures: Figures) => number) => median(all.get(name)!.map(figure));
  const figures: Array<[string, string, (figures: Figures) => number]> = [
    ['CPU per delivered event of 1 line', 'µs', ({ perEvent }) => perEvent.get(1)!],
    ['CPU per delivered event of 20 lines', 'µs', ({ perEvent }) => perEvent.get(20)!],
    ['CPU per delivered line under load', 'µs', ({ perFloodLine }) => perFloodLine],
    ['memory per idle subscriber', 'KiB', ({ idleBytes }) => idleBytes / 1024],
  ];
  const asked: Record<string, string> = {
    'raw ws, one ready frame': 'at most 1.2; under load less than 1; memory at most 2',
    'graphql-ws for each': 'at most 0.083 at 20 lines',
  };
  for (const [figure, unit, value] of figures) {
    for (const name of all.keys()) {
      if (name === 'WindFlow') continue;
      const [mine, theirs] = [of('WindFlow', value), of(name, value)];
      rows.push({
        figure: `${figure}, ${subscribers} subscribers`,
        unit,
        ours: rounded(mine),
        peer: name,
        theirs: rounded(theirs),
        ratio: rounded(mine / theirs),
        asked: asked[name] ?? '',
      });
    }
  }
  measured.push({
    subscribers,
    runs: Object.fromEntries(
      [...all].map(([name, runs]) => [
        name,
        runs.map((run) => ({ ...run, perEvent: Object.fromEntries(run.perEvent) })),
      ]),
    ),
  });
}

/** User and system time of a process so far: proc(5). */
function cpuMicroseconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1e6) / CLOCK_TICKS_PER_SECOND;
}

function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE_BYTES;
}
