import fs from 'node:fs/promises';
import type { InstanceUsage } from '../runtime.ts';

const LINUX = process.platform === 'linux';
/** USER_HZ, the unit of times in /proc/<pid>/stat: 100 a second on every architecture that Node runs on. */
const MS_PER_TICK = 10;
const BYTES_PER_KB = 1_024;
/** Files of /proc that are read at once. */
const READS_AT_ONCE = 64;

export type ProcessTimes = {
  pid: number;
  group: number;
  session: number;
  /** Ticks since the host started. */
  startTime: bigint;
  /** It ended, and waits to be collected. */
  isDead: boolean;
  /** CPU time, that of ended children included which were collected. */
  ticks: number;
};
type Leader = { instanceId: string; pid: number };
/** `lost`: what processes had used that ended without anybody of their group to collect them. */
type Counted = { ticks: number; lost: number };

/** Of /proc/<pid>/stat, see proc_pid_stat(5). Null where it is none. */
export function parseProcessTimes(text: string): ProcessTimes | null {
  // The name in parentheses may hold anything, spaces and parentheses too: fields start after the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, , group, session] = fields;
  const startTime = fields[19];
  if (startTime === undefined) return null;
  return {
    pid: Number.parseInt(text, 10),
    group: Number(group),
    session: Number(session),
    startTime: BigInt(startTime),
    isDead: state === 'Z' || state === 'X',
    ticks: fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0),
  };
}

/** Bytes, of /proc/<pid>/smaps_rollup or /proc/<pid>/status: what is shared with other processes counts in parts where the file tells. */
export function parseMemory(text: string): number | null {
  const kilobytes = /^(?:Pss|VmRSS):\s+(\d+) kB$/m.exec(text)?.[1];
  return kilobytes === undefined ? null : Number(kilobytes) * BYTES_PER_KB;
}

/** The living group or session of a leader, with what ended in it and was not collected yet; empty where the leader does not run. */
export function membersOf(leader: number, processes: readonly ProcessTimes[]): ProcessTimes[] {
  const first = processes.find(({ pid }) => pid === leader);
  if (!first || first.isDead) return [];
  return processes.filter(
    ({ group, session, startTime }) => (group === leader || session === leader) && startTime >= first.startTime,
  );
}

/** What processes of this host use, each with all of its group. Only Linux tells. */
export class ProcessUsage {
  readonly #counted = new Map<string, Counted>();
  #last: Promise<unknown> = Promise.resolve();
  #next: Promise<ProcessTimes[]> | null = null;

  /** Leaders that do not run are left out. */
  async read(leaders: readonly Leader[]): Promise<InstanceUsage[]> {
    if (!LINUX || leaders.length === 0) return [];
    const processes = await this.#look();
    const sampledAt = Date.now();
    // Before anything else is awaited: a later look must not be counted before this one.
    const running = leaders.flatMap(({ instanceId, pid }) => {
      const members = membersOf(pid, processes);
      return members.length === 0 ? [] : { instanceId, members, cpuMs: this.#ticksOf(pid, members) * MS_PER_TICK };
    });
    const usages: InstanceUsage[] = [];
    for (const { instanceId, members, cpuMs } of running) {
      const memoryBytes = await memoryOf(members.filter(({ isDead }) => !isDead));
      const shared = { memoryLimitBytes: null, networkReceivedBytes: null, networkSentBytes: null };
      usages.push({ instanceId, sampledAt, cpuMs, memoryBytes, ...shared });
    }
    return usages;
  }

  /** Of one run of a leader; never falls. */
  #ticksOf(leader: number, members: readonly ProcessTimes[]): number {
    const key = keyOf(members.find(({ pid }) => pid === leader)!);
    const sum = members.reduce((ticks, member) => ticks + member.ticks, 0);
    const { ticks, lost } = this.#counted.get(key) ?? { ticks: 0, lost: 0 };
    const counted = { ticks: sum, lost: lost + Math.max(0, ticks - sum) };
    this.#counted.set(key, counted);
    return counted.ticks + counted.lost;
  }

  /** All processes. Who asks while they are being read shares the look that begins next. */
  #look(): Promise<ProcessTimes[]> {
    this.#next ??= this.#last.then(async () => {
      this.#next = null;
      const processes = await readProcesses();
      const present = new Set(processes.map(keyOf));
      for (const key of this.#counted.keys()) if (!present.has(key)) this.#counted.delete(key);
      return processes;
    });
    this.#last = this.#next.catch(() => undefined);
    return this.#next;
  }
}

function keyOf({ pid, startTime }: ProcessTimes): string {
  return `${pid} ${startTime}`;
}

async function readProcesses(): Promise<ProcessTimes[]> {
  const pids = (await fs.readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found: ProcessTimes[] = [];
  while (pids.length > 0) {
    const texts = await Promise.all(pids.splice(0, READS_AT_ONCE).map((pid) => readOf(pid, 'stat')));
    found.push(...texts.flatMap((text) => (text === null ? [] : (parseProcessTimes(text) ?? []))));
  }
  return found;
}

async function memoryOf(members: readonly ProcessTimes[]): Promise<number> {
  let sum = 0;
  for (const { pid } of members) {
    const text = (await readOf(String(pid), 'smaps_rollup')) ?? (await readOf(String(pid), 'status'));
    sum += (text === null ? null : parseMemory(text)) ?? 0;
  }
  return sum;
}

/** Null: the process has ended, or the file is not for this user. */
async function readOf(pid: string, file: string): Promise<string | null> {
  return await fs.readFile(`/proc/${pid}/${file}`, 'latin1').catch(() => null);
}
