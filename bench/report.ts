import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A figure of ours beside that of a peer from the same run. */
export type Row = {
  figure: string;
  unit: string;
  ours: number;
  peer: string;
  theirs: number;
  /** ours / theirs. */
  ratio: number;
  /** What was asked for, in words. */
  asked: string;
};

/** Prints a table and writes it, and whatever was measured beside it, to bench/results/NAME.json. */
export function report(name: string, rows: Row[], measured: object = {}): void {
  console.table(rows);
  const folder = join(dirname(fileURLToPath(import.meta.url)), 'results');
  mkdirSync(folder, { recursive: true });
  const machine = { cores: availableParallelism(), node: process.version };
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify({ name, machine, rows, ...measured }, null, 2)}\n`);
}

/** The middle of the values: what a noisy machine says least wrongly. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** To so many significant digits. */
export function rounded(value: number, digits = 3): number {
  return Number(value.toPrecision(digits));
}
