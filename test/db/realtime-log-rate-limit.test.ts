import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { LogChunk, LogPlace } from '../../src/realtime/log-chunk.ts';
import type { LogLine } from '../../src/realtime/log-line.ts';
import { newId } from '../../src/shared/ids.ts';
import { CollectorBench } from '../support/collector-bench.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { ScriptedLog } from '../support/scripted-log.ts';

/** One instance has all of it: 100 lines, or 100 KiB, come at once. */
const PER_SECOND = 10;
const BURST = 100;
const linesPerSecond = PER_SECOND;
const SECOND = 1_000;

let database: TestDatabase;
let bench: CollectorBench;
beforeAll(async () => {
  database = await createTestDatabase();
  bench = await CollectorBench.on(database);
});
afterAll(async () => database?.[Symbol.asyncDispose]());

const numbered = (count: number, first = 1) =>
  Array.from({ length: count }, (_, index) => `line ${first + index}\n`).join('');
const gaps = (lines: readonly LogLine[]) => lines.filter(({ stream }) => stream === 'SYSTEM');
const texts = (lines: readonly LogLine[]) => lines.map(({ message }) => message);
const toldAs = (lines: number) =>
  `${lines.toLocaleString('en-US')} ${lines === 1 ? 'line' : 'lines'} dropped: rate limit`;

/** The messages; a gap that was told in two batches as one. */
function merged(lines: readonly LogLine[]): string[] {
  const all: { message: string; dropped: number }[] = [];
  for (const { message, dropped } of lines) {
    const last = all.at(-1);
    const isRateLimit = message.endsWith(': rate limit');
    if (isRateLimit) expect(message).toBe(toldAs(dropped));
    if (last && isRateLimit && last.message.endsWith(': rate limit')) last.dropped += dropped;
    else all.push({ message, dropped });
  }
  return all.map(({ message, dropped }) => (message.endsWith(': rate limit') ? toldAs(dropped) : message));
}

async function stored(script: ScriptedLog, deploymentId: string) {
  const { collector, stop } = bench.start(script, newId(), { linesPerSecond });
  await collector.waitFor(script.end);
  await stop();
  return bench.log(deploymentId);
}

describe('lines beyond the rate limit', () => {
  it('should be told exactly by one line, with their service, where they are missing', async () => {
    const deploymentId = newId();
    const instanceId = await bench.addInstance(deploymentId);
    const script = new ScriptedLog();
    const db = { instanceId, service: 'db', replica: 2 };
    script.output({ ...db, time: 0 }, 'STDOUT', numbered(BURST + 1_200));
    script.output({ ...db, time: 0 }, 'STDERR', 'e\ne\ne\ne\n');
    script.output({ ...db, time: SECOND }, 'STDOUT', 'after\n');
    const { lines, dropped } = await stored(script, deploymentId);
    expect(dropped).toBe(1_204);
    expect(merged(lines)).toEqual([
      ...Array.from({ length: BURST }, (_, index) => `line ${index + 1}`),
      '1,204 lines dropped: rate limit',
      'after',
    ]);
    for (const gap of gaps(lines))
      expect(gap).toMatchObject({ level: 'WARN', service: 'db', replica: 2, isPartial: false });
  });

  it('should be told before what the runtime reports of the instance, and at its end', async () => {
    const deploymentId = newId();
    const instanceId = await bench.addInstance(deploymentId);
    const script = new ScriptedLog();
    script.output({ instanceId, time: 0 }, 'STDOUT', `${numbered(BURST + 1)}unfinished`);
    script.gap({ instanceId, time: 1 }, 'STDOUT', 7, 99, 'the log spool is full');
    script.output({ instanceId, time: 2 }, 'STDOUT', numbered(3));
    script.event({ instanceId, time: 3 }, 'ended', 'exited with code 1');
    const { lines, dropped } = await stored(script, deploymentId);
    expect(merged(lines.slice(BURST))).toEqual([
      '2 lines dropped: rate limit',
      '7 lines dropped: the log spool is full',
      '3 lines dropped: rate limit',
      'exited with code 1',
    ]);
    expect(dropped).toBe(12);
  });

  it('should be told while more are being dropped, and nothing is stored between', async () => {
    const deploymentId = newId();
    const instanceId = await bench.addInstance(deploymentId);
    const script = new ScriptedLog();
    script.output({ instanceId, time: 0 }, 'STDOUT', numbered(BURST));
    const { stop } = bench.start(script, newId(), { linesPerSecond });
    let written = 0;
    // There is always something to read: nothing but the gap itself makes a batch due.
    const noise = setInterval(() => {
      script.output({ instanceId, time: 0 }, 'STDOUT', 'noise\n');
      written++;
    }, 5);
    const told = async () => gaps((await bench.log(deploymentId)).lines);
    await vi.waitFor(async () => expect((await told()).length).toBeGreaterThanOrEqual(2), 20_000);
    clearInterval(noise);
    await vi.waitFor(async () => expect((await bench.log(deploymentId)).dropped).toBe(written), 20_000);
    await stop();
  });

  it('should count a line in pieces once, and end what of it is stored', async () => {
    const deploymentId = newId();
    const instanceId = await bench.addInstance(deploymentId);
    const script = new ScriptedLog();
    const piece = 'x'.repeat(16 * 1024);
    // 100 KiB are left after six and a quarter pieces of 16 KiB; the seventh is let through with what is left.
    script.output({ instanceId, time: 0 }, 'STDOUT', piece.repeat(20));
    script.output({ instanceId, time: 60 * SECOND }, 'STDOUT', `${piece.repeat(3)}end\nnext line\n`);
    const { lines, dropped } = await stored(script, deploymentId);
    expect(dropped).toBe(1);
    const pieces = lines.filter(({ message }) => message === piece);
    expect(pieces.length).toBeGreaterThan(5);
    expect(lines.slice(pieces.length).map(({ message, isPartial }) => [message, isPartial])).toEqual([
      ['', false],
      ['1 line dropped: rate limit', false],
      ['next line', false],
    ]);
    expect(pieces.every(({ isPartial }) => isPartial)).toBe(true);
  });

  it('should leave secrets masked that begin in what is dropped', async () => {
    const deploymentId = newId();
    const instanceId = await bench.addInstance(deploymentId);
    const script = new ScriptedLog();
    script.output({ instanceId, time: 0 }, 'STDOUT', `${numbered(BURST)}dropped hun`);
    script.output({ instanceId, time: 60 * SECOND }, 'STDOUT', 'ter2!\nsaid hunt');
    script.output({ instanceId, time: 61 * SECOND }, 'STDOUT', 'er2!\n');
    const { lines } = await stored(script, deploymentId);
    expect(texts(lines.slice(BURST))).toEqual(['dropped ***', 'said ***']);
  });

  it('should take none from a quiet service beside a noisy one', async () => {
    const deploymentId = newId();
    const [noisy, quiet] = [await bench.addInstance(deploymentId), await bench.addInstance(deploymentId)];
    const script = new ScriptedLog();
    for (let second = 0; second < 60; second++) {
      script.output({ instanceId: noisy, service: 'noisy', time: second * SECOND }, 'STDOUT', numbered(300));
      script.output({ instanceId: quiet, service: 'quiet', time: second * SECOND }, 'STDOUT', `${second}\n`);
    }
    const { lines, dropped } = await stored(script, deploymentId);
    const own = (service: string) => lines.filter((line) => line.service === service && line.stream === 'STDOUT');
    expect(texts(own('quiet'))).toEqual(Array.from({ length: 60 }, (_, second) => `${second}`));
    expect(own('noisy').length + dropped).toBe(60 * 300);
    expect(gaps(lines).every(({ service }) => service === 'noisy')).toBe(true);
  });

  it('should be counted exactly when the collector is stopped at any moment, again and again', async () => {
    const [deploymentId, stack] = [newId(), newId()];
    const instances = [await bench.addInstance(deploymentId), await bench.addInstance(deploymentId)];
    const script = new ScriptedLog();
    const written = writeTooMuch(script, instances);
    const ROUNDS = 60;
    for (let round = 1; round <= ROUNDS; round++) {
      const end = Math.ceil((script.end * round) / ROUNDS);
      const read = ({ position }: LogPlace, signal: AbortSignal) => upTo(end, script.read(position, signal), signal);
      const { collector, stop } = bench.start(script, stack, { linesPerSecond: 3, read });
      expect(await collector.waitFor(end)).toBe(true);
      await stop();
    }
    const { lines, dropped } = await bench.log(deploymentId);
    const whole = lines.filter(({ stream, isPartial }) => stream !== 'SYSTEM' && !isPartial);
    // A line of which pieces are stored is ended by an empty one, and counted as dropped.
    const complete = whole.filter(({ message }) => message !== '');
    expect(gaps(lines).length).toBeGreaterThan(5);
    expect(complete.length + dropped).toBe(written);
    expect(new Set(texts(complete)).size).toBe(complete.length);
    for (const text of texts(complete)) expect(text).toMatch(/^[01] STD\w+ \d+ \*\*\* end$|^x+ [01] STD\w+ \d+ end$/);
  });
});

/** What of a log lies before a position, and the chunk at it. */
async function* upTo(end: number, chunks: AsyncIterable<LogChunk>, signal: AbortSignal): AsyncGenerator<LogChunk> {
  for await (const chunk of chunks) {
    yield chunk;
    if (chunk.next >= end) break;
  }
  if (!signal.aborted) await once(signal, 'abort');
}

/** To two services' streams, in odd pieces, some lines much longer than others; returns how many lines. */
function writeTooMuch(script: ScriptedLog, instances: readonly string[]): number {
  const COUNT = 300;
  for (const [index, instanceId] of instances.entries()) {
    for (const stream of ['STDOUT', 'STDERR'] as const) {
      const lines = Array.from({ length: COUNT }, (_, n) =>
        n % 20 === 7 ? `${'x'.repeat(20_000)} ${index} ${stream} ${n} end` : `${index} ${stream} ${n} hunter2! end`,
      );
      const bytes = Buffer.from(`${lines.join('\n')}\n`);
      for (let start = 0, size = 1; start < bytes.length; start += size, size = 1 + ((size * 7 + start) % 2_111)) {
        script.output({ instanceId, time: start / 10 }, stream, bytes.subarray(start, start + size));
      }
    }
  }
  return instances.length * 2 * COUNT;
}
