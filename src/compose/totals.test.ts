import { describe, expect, it } from 'vitest';
import { check } from './testing.ts';
import { MAX_STACK_BYTES, MAX_STACK_PORTS, MAX_STACK_REPLICAS } from './totals.ts';

const services = (length: number, lines: string) =>
  `services:\n${Array.from({ length }, (_, index) => `  s${index}: { command: x, ${lines} }`).join('\n')}\n`;
const BIG = 900_000;
/** So many replicas may be given something big. */
const MOST = Math.floor(MAX_STACK_BYTES / BIG);
const config = (bytes: number) => `configs: { c: { content: "${'é'.repeat(bytes / 2)}" } }`;
const errors = (text: string, variables = {}) =>
  check(text, { variables })
    .findings.filter(({ severity }) => severity === 'ERROR')
    .map(({ rule, path }) => `${rule} ${path}`);

describe('what a stack asks for as a whole', () => {
  it('should have a bounded number of replicas', () => {
    const most = services(MAX_STACK_REPLICAS / 100, 'scale: 100');
    expect(errors(most)).toEqual([]);
    expect(errors(`${most}  more: { command: x }`)).toEqual(['too-many-replicas services']);
    expect(errors(`${most}  more: { command: x, profiles: [off] }`)).toEqual([]);
  });

  it('should have a bounded number of ports', () => {
    const most = services(MAX_STACK_PORTS / 1000, 'scale: 10, ports: ["8000-8099"]');
    expect(errors(most)).toEqual([]);
    expect(errors(`${most}  more: { command: x, ports: ["80"] }`)).toEqual(['too-many-ports services']);
  });

  it('should have a bounded number of bytes, those of a config counted for each replica of each service', () => {
    const readers = (replicas: number) => `${services(2, `scale: ${replicas}, configs: [c]`)}${config(BIG)}`;
    expect(errors(readers(Math.floor(MOST / 2)))).toEqual([]);
    expect(errors(readers(Math.floor(MOST / 2) + 1))).toEqual(['stack-too-large services.s0']);
  });

  it.each([
    ['configs', `scale: N, configs: [c]`, config(BIG)],
    ['secrets', `scale: N, secrets: [c]`, 'secrets: { c: { environment: BIG } }'],
    ['variables', `scale: N, environment: [BIG]`, ''],
    ['env files', `scale: N, env_file: e`, `x-windflow: { files: { e: BIG } }`],
    ['arguments', 'scale: N, entrypoint: ["$BIG"]', ''],
    ['arguments of health checks', 'scale: N, healthcheck: { test: [CMD, "$BIG"] }', ''],
  ])('should have a bounded number of bytes of %s', (_what, lines, rest) => {
    const variables = { BIG: 'x'.repeat(BIG) };
    const replicas = (count: number) => `${services(1, lines.replace('N', String(count)))}${rest}`;
    expect(errors(replicas(MOST + 1), variables)).toEqual(['stack-too-large services.s0']);
    expect(errors(replicas(MOST), variables)).toEqual([]);
  });
});
