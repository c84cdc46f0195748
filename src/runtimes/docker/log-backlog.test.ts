import { expect, it } from 'vitest';
import { LogBacklog, type Logging } from './log-backlog.ts';

const MS = 1_000_000n;
const sized = (size: string): Logging => ({ Type: 'json-file', Config: { 'max-size': size } });
const LINE = new Uint8Array(60);
/** So many records of 140 bytes with their overhead, between two times. */
const batch = (count: number, from: bigint, to: bigint) =>
  Array.from({ length: count }, (_, index) => ({
    stream: 'STDOUT' as const,
    time: from + ((to - from) * BigInt(index)) / BigInt(count - 1),
    bytes: LINE,
  }));

it('should be dangerous once much may have been written since, whatever the clocks say', () => {
  for (const skew of [0n, 3_600_000n * MS, -3_600_000n * MS]) {
    const backlog = new LogBacklog(sized('1m'));
    // 1,000 records in 100 ms: 1.4 MB a second. A quarter of a file is 0.19 s of that.
    expect(backlog.isDangerous(batch(1_000, 0n, 100n * MS), 101n * MS + skew)).toBe(false);
    expect(backlog.isDangerous(batch(1_000, 100n * MS, 200n * MS), 280n * MS + skew)).toBe(false);
    expect(backlog.isDangerous(batch(1_000, 200n * MS, 300n * MS), 450n * MS + skew)).toBe(true);
    expect(backlog.isDangerous(batch(1_000, 400n * MS, 500n * MS), 501n * MS + skew)).toBe(false);
  }
});

it('should not be dangerous for who is far behind a container that hardly writes', () => {
  const backlog = new LogBacklog(sized('16m'));
  backlog.isDangerous(batch(2, 0n, 1_000n * MS), 1_000n * MS);
  expect(backlog.isDangerous(batch(2, 1_000n * MS, 2_000n * MS), 3_600_000n * MS)).toBe(false);
});

it.each([
  {},
  { 'max-size': '-1' },
  { 'max-size': '0' },
  { 'max-size': 'many' },
  null,
])('should never be dangerous where a log is not rotated: %o', (Config) => {
  const backlog = new LogBacklog({ Type: 'json-file', Config: Config as Logging['Config'] });
  backlog.isDangerous(batch(100_000, 0n, 100n * MS), 0n);
  expect(backlog.isDangerous(batch(100_000, 100n * MS, 200n * MS), 60_000n * MS)).toBe(false);
  expect(backlog.isDangerous([], 0n)).toBe(false);
});

it('should know of drivers that rotate by themselves', () => {
  const backlog = new LogBacklog({ Type: 'local', Config: {} });
  backlog.isDangerous(batch(100_000, 0n, 100n * MS), 100n * MS);
  expect(backlog.isDangerous(batch(100_000, 100n * MS, 200n * MS), 60_000n * MS)).toBe(true);
});
