import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, MAX_DURATION_MS, parseBytes, parseDuration, parseSignal } from './units.ts';

describe('parseDuration', () => {
  it.each([
    ['10s', 10_000],
    ['1m30s', 90_000],
    ['2h', 7_200_000],
    ['1h5m30s20ms', 3_930_020],
    ['1.5s', 1500],
    ['2500us', 3],
    ['0', 0],
    ['0s', 0],
    ['1d', 86_400_000],
    ['1w', 604_800_000],
    ['1500ns', 0],
    ['5µs', 0],
    ['.5s', 500],
    ['1.s', 1000],
    ['.s', null],
    ['', null],
    ['10', null],
    ['-1s', null],
    ['1 s', null],
    ['s', null],
    ['10s!', null],
    ['1000d', null],
  ])('should read %j as %j ms', (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });

  it('should read back what formatDuration writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: MAX_DURATION_MS }), (milliseconds) => {
        expect(parseDuration(formatDuration(milliseconds))).toBe(milliseconds);
      }),
    );
  });
});

describe('parseBytes', () => {
  it.each([
    ['1024', 1024],
    ['64b', 64],
    ['1k', 1024],
    ['2KB', 2048],
    ['1.5m', 1_572_864],
    ['2gb', 2_147_483_648],
    ['1GiB', 1_073_741_824],
    ['1p', 1_125_899_906_842_624],
    ['64 MB', 67_108_864],
    ['x', null],
    ['1x', null],
    ['-1', null],
  ])('should read %j as %j bytes', (text, expected) => {
    expect(parseBytes(text)).toBe(expected);
  });
});

describe('parseSignal', () => {
  it.each([
    ['SIGTERM', 'SIGTERM'],
    ['TERM', 'SIGTERM'],
    ['sigusr1', 'SIGUSR1'],
    ['15', 'SIGTERM'],
    ['2', 'SIGINT'],
    ['SIGNONE', null],
    ['999', null],
    ['', null],
  ])('should read %j as %j', (text, expected) => {
    expect(parseSignal(text)).toBe(expected);
  });
});
