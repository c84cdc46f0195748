import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type {
  InstanceSpec,
  InstanceStatus,
  LogChunk,
  LogPlace,
  LogRef,
  Runtime,
  StackRef,
} from '../../src/runtimes/runtime.ts';
import { eventually as waitFor } from '../support/eventually.ts';

const DEADLINE_MS = 20_000;
const POLL_MS = 10;
/** A log in which nothing was new for so long tells nothing more for now. */
const PAUSE_MS = 1_000;

/** A replica of a service that runs a shell script and is never restarted, unless `differing` says otherwise. */
export function shell(service: string, script: string, differing: Partial<InstanceSpec> = {}): InstanceSpec {
  return {
    instanceId: randomUUID(),
    service,
    replica: 1,
    configHash: 'one',
    argv: ['sh', '-c', script],
    environment: {},
    workingDir: null,
    files: [],
    volumes: [],
    ports: [],
    healthcheck: null,
    restart: { name: 'no', maxRetries: null },
    stopSignal: 'SIGTERM',
    stopGracePeriodMs: 5_000,
    ...differing,
  };
}

/** See `waitFor`; runtimes have less time, and are looked at all the time. */
export function eventually<Value>(what: string, look: () => Promise<Value> | Value): Promise<NonNullable<Value>> {
  return waitFor(what, look, { deadlineMs: DEADLINE_MS, pollMs: POLL_MS });
}

/** The log of a whole stack. */
export const logOf = (stack: StackRef): LogRef => ({ stack, instanceId: null });

/** The log that an instance writes to: its stack's, or its own. */
export const logOfInstance = (runtime: Runtime, stack: StackRef, { instanceId }: InstanceSpec): LogRef => ({
  stack,
  instanceId: runtime.logsBy === 'instance' ? instanceId : null,
});

/** A whole stack stands for its log. */
const refOf = (log: StackRef | LogRef): LogRef => ('stack' in log ? log : logOf(log));

/** Where a log ends now; null: nobody knows. */
export async function endOf(runtime: Runtime, log: StackRef | LogRef): Promise<number> {
  return (await runtime.logEnd(refOf(log)))!;
}

export async function statusOf(
  runtime: Runtime,
  stack: StackRef,
  instanceId: string,
): Promise<InstanceStatus | undefined> {
  return (await runtime.list(stack)).find((status) => status.instanceId === instanceId);
}

export function whenState(
  runtime: Runtime,
  stack: StackRef,
  spec: InstanceSpec,
  state: InstanceStatus['state'],
): Promise<InstanceStatus> {
  return eventually(`${spec.service} is ${state}`, async () => {
    const status = await statusOf(runtime, stack, spec.instanceId);
    return status?.state === state ? status : null;
  });
}

/** Reads the log from a position until a chunk satisfies `isLast`, that one included. */
export async function readLog(
  runtime: Runtime,
  log: StackRef | LogRef,
  from: number | LogPlace,
  isLast: (chunk: LogChunk) => boolean,
): Promise<LogChunk[]> {
  const place = typeof from === 'number' ? { position: from, mark: null } : from;
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), DEADLINE_MS);
  const chunks: LogChunk[] = [];
  try {
    for await (const chunk of runtime.logs(refOf(log), place, stop.signal)) {
      chunks.push(chunk);
      if (isLast(chunk)) return chunks;
    }
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
  throw new Error(`the log did not reach the awaited chunk: ${chunks.map(describeChunk).slice(-20).join(' | ')}`);
}

/** Everything that the log holds now; of one whose end nobody knows, what comes until it pauses. */
export async function readAll(runtime: Runtime, log: StackRef | LogRef, from = 0): Promise<LogChunk[]> {
  const end = await runtime.logEnd(refOf(log));
  if (end !== null) return end <= from ? [] : await readLog(runtime, log, from, (chunk) => chunk.next >= end);
  const stop = new AbortController();
  const chunks: LogChunk[] = [];
  let timer = setTimeout(() => stop.abort(), PAUSE_MS);
  for await (const chunk of runtime.logs(refOf(log), { position: from, mark: null }, stop.signal)) {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(), PAUSE_MS);
    chunks.push(chunk);
  }
  clearTimeout(timer);
  return chunks;
}

/** One stream's bytes as text, of one instance or of all. */
export function textOf(chunks: LogChunk[], stream: 'STDOUT' | 'STDERR' = 'STDOUT', instanceId?: string): string {
  return Buffer.concat(bytesOf(chunks, stream, instanceId)).toString('utf8');
}

export function bytesOf(chunks: LogChunk[], stream: 'STDOUT' | 'STDERR' = 'STDOUT', instanceId?: string): Uint8Array[] {
  return chunks.flatMap((chunk) =>
    chunk.kind === 'output' && chunk.stream === stream && (instanceId ?? chunk.instanceId) === chunk.instanceId
      ? chunk.bytes
      : [],
  );
}

export function eventsOf(chunks: LogChunk[]): string[] {
  return chunks.flatMap((chunk) => (chunk.kind === 'event' ? `${chunk.event}: ${chunk.message}` : []));
}

export const isEnd =
  (spec: InstanceSpec) =>
  (chunk: LogChunk): boolean =>
    chunk.kind === 'event' && chunk.event === 'ended' && chunk.instanceId === spec.instanceId;

/** Starts a service that ends by itself and returns what it wrote. */
export async function outputOf(runtime: Runtime, stack: StackRef, spec: InstanceSpec): Promise<string> {
  const log = logOfInstance(runtime, stack, spec);
  const from = runtime.logsBy === 'stack' ? await endOf(runtime, log) : 0;
  await runtime.start(stack, spec, 1);
  return textOf(await readLog(runtime, log, from, isEnd(spec)), 'STDOUT', spec.instanceId);
}

/** Whether a process still runs; one that nobody collected does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  return !isZombie(pid);
}

function isZombie(pid: number): boolean {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function describeChunk(chunk: LogChunk): string {
  if (chunk.kind === 'event') return chunk.message;
  if (chunk.kind === 'gap') return `gap of ${chunk.lines} lines`;
  return Buffer.from(chunk.bytes).toString('utf8').slice(0, 80);
}
