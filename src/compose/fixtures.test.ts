import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { checkStack } from './check.ts';
import { scoreOf } from './finding.ts';

type Verdict = { score: number; findings: string[] };

const folder = new URL('./fixtures/', import.meta.url);
const read = (file: string) => readFileSync(new URL(file, folder), 'utf8');
const list = (under: string) => readdirSync(new URL(under, folder)).filter((name) => name.endsWith('.yaml'));
const accepted = list('./');
const rejected = list('./rejected/').map((name) => `rejected/${name}`);
const files = [...accepted, ...rejected];
const verdicts: Record<string, { any: Verdict; PROCESS: Verdict; DOCKER: Verdict }> = JSON.parse(read('verdicts.json'));
const VARIABLES = {
  DB_PASSWORD: 'one',
  DB_ROOT_PASSWORD: 'two',
  RAILS_MASTER_KEY: 'three',
  PGPASSWORD: 'four',
  HOMESERVER_YAML: 'five',
  SIGNING_KEY: 'six',
};

function verdictOf(file: string, runtime: 'PROCESS' | 'DOCKER' | null): Verdict {
  const { findings } = checkStack(read(file), { runtime, variables: runtime && VARIABLES, privileges: [] });
  const said = findings.map(
    (finding) => `${finding.line}:${finding.column} ${finding.severity} ${finding.rule} ${finding.path}`,
  );
  return { score: scoreOf(findings), findings: said };
}

/** "line rule" of the errors that a file has wherever it is deployed. */
function errors(file: string): string[] {
  const { findings } = checkStack(read(file), { variables: VARIABLES });
  return findings.flatMap(({ severity, line, rule }) => (severity === 'ERROR' ? [`${line} ${rule}`] : []));
}

const HEADERS = [
  /^# docker compose config (?<verdict>accepts) it\.$/,
  /^# docker compose config (?<verdict>accepts) it; refused here \((?<rule>[a-z-]+)\): .+\.$/,
  /^# docker compose config (?<verdict>rejects) it, for want of an image or build; accepted here: .+\.$/,
  /^# docker compose config (?<verdict>rejects) it \(line (?<line>\d+), (?<rule>[a-z-]+)\): .+$/,
];

/** What the first line of a file says of `docker compose config`, as its source (compose-go) decides it. */
function docker(file: string): { verdict?: string; line?: string; rule?: string } {
  const [first = ''] = read(file).split('\n');
  const groups = HEADERS.map((header) => header.exec(first)?.groups).find(Boolean);
  if (!groups) throw new Error(`The first line of ${file} does not say what docker compose config makes of it.`);
  return groups;
}

/** Whether a service has neither an image nor a build: the only reason for us to accept what Docker rejects. */
function lacksImage(file: string): boolean {
  const { model } = checkStack(read(file), { variables: VARIABLES });
  return Object.values(model?.services ?? {}).some(({ image, hasBuild }) => image === null && !hasBuild);
}

describe('compose files of many kinds', () => {
  it('should be many, and each have a verdict', () => {
    expect(accepted.filter((file) => docker(file).verdict === 'accepts').length).toBeGreaterThanOrEqual(40);
    expect(rejected.length).toBeGreaterThanOrEqual(40);
    expect(Object.keys(verdicts)).toEqual(files);
  });

  it.each(accepted)('should judge %s as docker compose config does, but for what is documented', (file) => {
    const { verdict, rule } = docker(file);
    expect(verdict).toBe(lacksImage(file) ? 'rejects' : 'accepts');
    expect([...new Set(errors(file).map((error) => error.split(' ')[1]))]).toEqual(rule ? [rule] : []);
  });

  it.each(rejected)('should refuse %s as docker compose config does, and for the same reason', (file) => {
    const { verdict, line, rule } = docker(file);
    expect(verdict).toBe('rejects');
    expect(errors(file)).toContain(`${line} ${rule}`);
  });

  it.each(files)('should judge %s as expected, in general and for each runtime', (file) => {
    const [any, PROCESS, DOCKER] = [null, 'PROCESS' as const, 'DOCKER' as const].map((runtime) =>
      verdictOf(file, runtime),
    );
    expect({ any, PROCESS, DOCKER }).toEqual(verdicts[file]);
  });
});
