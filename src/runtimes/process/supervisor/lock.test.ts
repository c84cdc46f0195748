import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { takeLock } from './lock.mjs';
import { identify } from './process-identity.mjs';

describe('the lock of a supervisor', () => {
  let directory: string;

  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-'));
  });

  afterEach(() => fs.rmSync(directory, { recursive: true }));

  const held = (identity: unknown, generation = 1) =>
    fs.writeFileSync(path.join(directory, String(generation)), JSON.stringify(identity));

  it('should be taken where nobody has it, once', () => {
    expect(takeLock(directory)).toBe(true);
    expect(takeLock(directory)).toBe(false);
    expect(fs.readdirSync(directory)).toEqual(['1']);
  });

  it('should be taken from a process that ended, by a new generation', () => {
    held({ ...identify(process.pid), startTime: '1' }, 7);
    expect(takeLock(directory)).toBe(true);
    expect(fs.readdirSync(directory)).toEqual(['8']);
  });

  it('should be taken from a process of before the host restarted', () => {
    held({ ...identify(process.pid), bootId: 'another' });
    expect(takeLock(directory)).toBe(true);
  });

  it('should be taken from a holder whose name a power cut took', () => {
    fs.writeFileSync(path.join(directory, '3'), '');
    expect(takeLock(directory)).toBe(true);
  });

  it('should be left to a process that runs', () => {
    held(identify(process.ppid));
    expect(takeLock(directory)).toBe(false);
  });
});
