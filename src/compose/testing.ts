import fc from 'fast-check';
import { type CheckOptions, checkStack } from './check.ts';
import type { ServiceModel } from './model.ts';

/** Any characters of Unicode and more, ASCII often; unlike the unit "binary", there at once. */
export const anyCharacter = fc
  .oneof(fc.integer({ min: 0, max: 0x7f }), fc.integer({ min: 0, max: 0x10ffff }))
  .map((code) => String.fromCodePoint(code));

/** "line:column SEVERITY rule" of each finding, and the services' models, of a file for tests. */
export function check(text: string, options: CheckOptions = {}) {
  const { model, findings, services } = checkStack(text, options);
  const said = findings.map(({ line, column, severity, rule }) => `${line}:${column} ${severity} ${rule}`);
  return { model, findings, said, services };
}

/** The model of the only service, given as the lines of its mapping. */
export function service(lines: string, options: CheckOptions = {}): ServiceModel {
  const { model, findings } = check(fileOf(lines), options);
  if (!model) throw new Error(findings.map(({ message }) => message).join('\n'));
  return model.services.a!;
}

/** What is said about a service's lines; the first of them is line 4 of the file, which declares more than it uses. */
export function said(lines: string, options: CheckOptions = {}): string[] {
  return check(fileOf(lines), options).said.filter((line) => !line.endsWith(' unused'));
}

function fileOf(lines: string): string {
  const body = lines.split('\n').map((line) => `    ${line}`);
  return `services:\n  a:\n    image: x\n${body.join('\n')}\nvolumes: { v: , w: }\nconfigs: { c: { content: x } }\nsecrets: { s: { environment: S } }\n`;
}
