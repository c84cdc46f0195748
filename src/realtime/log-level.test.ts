import { describe, expect, it } from 'vitest';
import { detectLevel } from './log-level.ts';

describe('detectLevel', () => {
  it.each([
    ['{"level":"error","msg":"x"}', 'ERROR'],
    ['{"time":1,"level":30,"msg":"level 50"}', 'INFO'],
    ['{"level":40}', 'WARN'],
    ['{"level":20}', 'DEBUG'],
    ['{"version":"1.1","level":3}', 'ERROR'],
    ['{"severity":"WARNING","message":"x"}', 'WARN'],
    ['time=2026-11-22T10:00:00Z level=warn msg="x"', 'WARN'],
    ['level=debug x', 'DEBUG'],
    ['[ERROR] x', 'ERROR'],
    ['[ WARN ] x', 'WARN'],
    ['2026/11/22 10:00:00 [error] 12#12: *1 open() failed', 'ERROR'],
    ['[Sun Nov 22 10:00:00 2026] [core:notice] [pid 1] x', 'INFO'],
    ['ERROR: x', 'ERROR'],
    ['WARN  slow query', 'WARN'],
    ['INFO server started', 'INFO'],
    ['2026-11-22 10:00:00.123 UTC [12] LOG:  database system is ready', 'INFO'],
    ['2026-11-22 10:00:00.123 UTC [12] FATAL:  role "x" does not exist', 'ERROR'],
    ['2026-11-22 10:00:00,123 ERROR com.example.Main - x', 'ERROR'],
    ['10:00:01 | DEBUG | x', 'DEBUG'],
    ['Nov 22 10:00:00 host app[12]: WARNING x', 'WARN'],
    ['<11>disk failure', 'ERROR'],
    ['<6>ok', 'INFO'],
    ['W1122 10:00:00.000000       1 main.go:1] x', 'WARN'],
    ['12:M 22 Nov 2026 10:00:00.000 # WARNING overcommit_memory is set to 0', 'WARN'],
    ['12:M 22 Nov 2026 10:00:00.000 * Ready to accept connections tcp', 'INFO'],
    ["TypeError: Cannot read properties of undefined (reading 'x')", 'ERROR'],
    ['Error [ERR_X]: x', 'ERROR'],
    ['Traceback (most recent call last):', 'ERROR'],
    ['npm ERR! code 1', 'ERROR'],
    ['error: cannot open file', 'ERROR'],
    ['warning: x', 'WARN'],
    ['\x1b[32mINFO\x1b[0m ready', 'INFO'],
    ['\x1b[31m[ERROR]\x1b[39m failed', 'ERROR'],
  ] as const)('should read %j as %s', (message, level) => {
    expect(detectLevel(message, 'STDOUT')).toBe(level);
    expect(detectLevel(message, 'STDERR')).toBe(level);
  });

  it.each([
    'GET /errors 200',
    'no errors found',
    'the ERROR page was rendered',
    'listening on 127.0.0.1:8080',
    '{"msg":"level"}',
    '',
    'information about debugging',
  ])('should fall back to the stream for %j', (message) => {
    expect(detectLevel(message, 'STDOUT')).toBe('INFO');
    expect(detectLevel(message, 'SYSTEM')).toBe('INFO');
    expect(detectLevel(message, 'STDERR')).toBe('WARN');
  });
});
