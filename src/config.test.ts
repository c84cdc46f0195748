import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ConfigError, isLoopback, loadConfig } from './config.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wf-config-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('should have the documented defaults and make a key once', () => {
  const config = loadConfig({ WINDFLOW_DATA_DIR: folder });
  expect(config).toMatchObject({
    host: '127.0.0.1',
    port: 4000,
    publicUrl: 'http://127.0.0.1:4000',
    registration: 'first',
  });
  expect(config).toMatchObject({
    processRuntime: true,
    databaseUrl: null,
    redisUrl: null,
    corsOrigins: [],
    logRetentionDays: 30,
    executionRetentionDays: 90,
  });
  expect(config.logLinesPerSecond).toBe(20_000);
  expect(statSync(join(folder, 'secret.key')).mode & 0o777).toBe(0o600);
  expect(loadConfig({ WINDFLOW_DATA_DIR: folder }).secretKey).toEqual(config.secretKey);
});

it('should keep its data in .windflow of the project unless told otherwise', () => {
  const { dataDirectory } = loadConfig({ WINDFLOW_SECRET_KEY: Buffer.alloc(32, 1).toString('base64') });
  expect(dataDirectory).toBe(join(import.meta.dirname, '..', '.windflow'));
});

it('should name every wrong setting and say how to mend it', () => {
  const wrong = {
    PORT: '99999',
    DATABASE_URL: 'mysql://x',
    REDIS_URL: 'localhost:6379',
    WINDFLOW_SECRET_KEY: 'short',
    WINDFLOW_REGISTRATION: 'closed',
    WINDFLOW_ALLOWED_ADDRESSES: '10.0.0.1,localhost',
    WINDFLOW_LOG_RETENTION_DAYS: '0',
    WINDFLOW_LOG_LINES_PER_SECOND: '-1',
  };
  const load = () => loadConfig({ WINDFLOW_DATA_DIR: folder, ...wrong });
  expect(load).toThrow(ConfigError);
  for (const name of Object.keys(wrong)) expect(load).toThrow(new RegExp(name));
  expect(load).toThrow(/openssl rand -base64 32/);
});

it('should refuse a damaged key file', () => {
  writeFileSync(join(folder, 'secret.key'), 'nonsense');
  expect(() => loadConfig({ WINDFLOW_DATA_DIR: folder })).toThrow(/Restore it from your backup/);
});

it('should tell loopback addresses from others', () => {
  expect(['127.0.0.1', '127.9.9.9', 'localhost', '::1'].every(isLoopback)).toBe(true);
  expect(['0.0.0.0', '::', '10.0.0.1'].some(isLoopback)).toBe(false);
});
