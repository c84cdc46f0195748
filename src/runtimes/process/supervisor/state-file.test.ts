import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { InstanceStatus } from '../../runtime.ts';
import { readRecords, removeRecord, statusWithoutSupervisor, writeRecord } from './state-file.mjs';

const status: InstanceStatus = {
  instanceId: randomUUID(),
  service: 'web',
  replica: 1,
  configHash: 'one',
  state: 'RUNNING',
  restarts: 1,
  exitCode: 0,
  startedAt: '2026-01-01T00:00:00.000Z',
  ports: [],
  pid: 42,
  reason: null,
};
const record = { status, group: { pid: 42, startTime: '1', bootId: 'this' }, files: [], uid: null };

describe('a record of an instance', () => {
  let directory: string;

  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'state-'));
  });

  afterEach(() => fs.rmSync(directory, { recursive: true }));

  it('should be read as it was written, until it is removed', () => {
    writeRecord(directory, record);
    writeRecord(directory, { ...record, status: { ...status, restarts: 2 } });
    expect(readRecords(directory)).toEqual([{ ...record, status: { ...status, restarts: 2 } }]);
    removeRecord(directory, status.instanceId);
    expect(fs.readdirSync(directory)).toEqual([]);
  });

  it('should be for its owner alone: its reason may quote a secret', () => {
    const before = process.umask(0);
    writeRecord(directory, { ...record, status: { ...status, reason: 'exited with code 1 (wrong password hunter2)' } });
    process.umask(before);
    expect(fs.statSync(path.join(directory, `${status.instanceId}.json`)).mode & 0o777).toBe(0o600);
  });

  it('should be passed over when a power cut emptied it', () => {
    fs.writeFileSync(path.join(directory, `${randomUUID()}.json`), '');
    writeRecord(directory, record);
    expect(readRecords(directory)).toEqual([record]);
  });

  it('should be overwritten in place where no new file can be made', () => {
    writeRecord(directory, record);
    const file = path.join(directory, `${status.instanceId}.json`);
    fs.mkdirSync(`${file}.tmp`);
    writeRecord(directory, { ...record, status: { ...status, service: 'w' } });
    expect(JSON.parse(fs.readFileSync(file, 'utf8')).status.service).toBe('w');
    fs.rmdirSync(`${file}.tmp`);
  });

  it('should say that what ran has ended, and why, when its supervisor is gone', () => {
    const gone = { ...status, state: 'EXITED', exitCode: null, pid: null };
    expect(statusWithoutSupervisor(record, 'this')).toEqual({ ...gone, reason: 'its supervisor ended: it was killed' });
    expect(statusWithoutSupervisor(record, 'next')).toEqual({
      ...gone,
      reason: 'its supervisor ended: the host restarted',
    });
  });

  it('should keep what is known of an instance that had ended before', () => {
    const ended = { ...record, status: { ...status, state: 'EXITED' as const, exitCode: 3 } };
    expect(statusWithoutSupervisor(ended, 'next')).toBe(ended.status);
  });
});
