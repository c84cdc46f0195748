import { describe, expect, it } from 'vitest';
import { formatPath, MAX_FINDINGS, Report, scoreOf } from './finding.ts';

describe('formatPath', () => {
  it('should write keys with dots, indices and other keys in brackets', () => {
    expect(formatPath(['services', 'web', 'ports', 0, 'target'])).toBe('services.web.ports[0].target');
    expect(formatPath(['services', 'my.web'])).toBe('services["my.web"]');
  });

  it('should cut off what is too long to be read', () => {
    expect(formatPath(['services', 'x'.repeat(1000)])).toBe(`services["${'x'.repeat(100)}…"]`);
  });
});

describe('Report', () => {
  it('should keep the order of the file, and say the same thing once', () => {
    const report = new Report();
    report.add('INFO', 'b', 'later', { position: { line: 2, column: 1 } });
    report.add('INFO', 'a', 'first', { position: { line: 1, column: 9 } });
    report.add('INFO', 'b', 'later', { position: { line: 2, column: 1 } });
    expect(report.findings().map(({ rule }) => rule)).toEqual(['a', 'b']);
  });

  it('should show the most severe findings when there are too many, and count the others', () => {
    const report = new Report();
    for (let line = 1; line <= MAX_FINDINGS + 4; line++)
      report.add('WARNING', 'w', 'w', { position: { line, column: 1 } });
    report.add('ERROR', 'e', 'e', { position: { line: 999, column: 1 } });
    const findings = report.findings();
    expect(findings).toHaveLength(MAX_FINDINGS + 1);
    expect(findings.at(-2)).toMatchObject({ rule: 'e' });
    expect(findings.at(-1)).toMatchObject({ rule: 'too-many-findings', severity: 'ERROR' });
    expect(findings.at(-1)?.message).toMatch(/^5 more findings/);
  });
});

describe('scoreOf', () => {
  const score = (errors: number, warnings: number, infos: number) =>
    scoreOf([
      ...Array(errors).fill({ severity: 'ERROR' }),
      ...Array(warnings).fill({ severity: 'WARNING' }),
      ...Array(infos).fill({ severity: 'INFO' }),
    ]);

  it.each([
    [0, 0, 0, 100],
    [0, 1, 0, 95],
    [0, 0, 3, 97],
    [0, 50, 50, 50],
    [1, 0, 0, 50],
    [2, 1, 1, 34],
    [6, 0, 0, 0],
    [40, 40, 40, 0],
  ])('should give %i errors, %i warnings and %i infos the score %4$i', (errors, warnings, infos, expected) => {
    expect(score(errors, warnings, infos)).toBe(expected);
  });
});
