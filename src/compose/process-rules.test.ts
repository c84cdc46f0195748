import { describe, expect, it } from 'vitest';
import { peerVariablePrefix } from './process-peers.ts';
import { check } from './testing.ts';

const TAIL = 'volumes: { v: }\nconfigs: { c: { content: x } }\nsecrets: { s: { environment: S } }';

/** What PROCESS says about a service's lines, the first of them line 3, other than what is unused. */
function findings(lines: string) {
  const body = lines.split('\n').map((line) => `    ${line}`);
  const text = `services:\n  a:\n${body.join('\n')}\n  db: { command: x }\n${TAIL}`;
  return check(text, { runtime: 'PROCESS' }).findings.filter(({ rule }) => rule !== 'unused');
}

const said = (lines: string) => findings(lines).map(({ line, severity, rule }) => `${line} ${severity} ${rule}`);

describe('what runs', () => {
  it.each([
    ['image: nginx', ['3 ERROR process-image']],
    ['build: .', ['3 ERROR process-build']],
    ['image: nginx\ncommand: nginx', ['3 WARNING process-image']],
    ['image: nginx\nentrypoint: [nginx]', ['3 WARNING process-image']],
    ['build: .\ncommand: ./run', ['3 WARNING process-build']],
    ['image: nginx\ncommand: []', ['3 ERROR process-image']],
    ['command: ./run', []],
  ])('should say of %j: %j', (lines, expected) => {
    expect(said(lines)).toEqual(expected);
  });

  it('should warn where a variable is meant for a shell that does not run', () => {
    expect(said('command: ["serve", "--port", "$$PORT"]')).toEqual(['3 WARNING command-variable']);
    expect(said('command: serve --port $$PORT')).toEqual(['3 WARNING command-variable']);
    expect(said('command: ["sh", "-c", "serve $$PORT"]')).toEqual([]);
    expect(said(`command: ["/usr/bin/env", "bash", "-ec", "serve $$PORT"]`)).toEqual([]);
    expect(said(`command: ["nginx", "-s", "$$host"]`)).toEqual([]);
  });
});

describe('ports', () => {
  it.each([
    ['"8080:8080"', []],
    ['"8080:80"', ['3 WARNING process-port']],
    ['"8080"', ['3 INFO process-port']],
    ['"8080-8089:8080"', ['3 INFO process-port']],
    ['"127.0.0.1:8080:8080"', ['3 WARNING process-port']],
    ['"0.0.0.0:8080:8080"', []],
    ['"80:80"', ['3 WARNING process-port-privileged']],
    ['"8000-8099:8000-8099"', []],
    ['"8000-8099:9000-9099"', ['3 WARNING process-port']],
  ])('should say of %s: %j', (port, expected) => {
    expect(said(`ports: [${port}]\ncommand: x`)).toEqual(expected);
  });

  it('should warn of a PORT that is not the published one', () => {
    expect(said('ports: ["8080:8080"]\ncommand: x\nenvironment: { PORT: 3000 }')).toEqual(['5 WARNING process-port']);
    expect(said('ports: ["8080:8080"]\ncommand: x\nenvironment: { PORT: 8080 }')).toEqual([]);
  });
});

describe('paths', () => {
  it.each([
    ['volumes: ["v:data"]\ncommand: x --dir data', []],
    ['volumes: ["v:/data"]\ncommand: x', ['3 WARNING process-path']],
    ['volumes: ["v:/data"]\ncommand: x --dir=/data/a', ['4 ERROR process-path']],
    ['volumes: ["v:/data"]\ncommand: x --dir /database', ['3 WARNING process-path']],
    ['volumes: ["v:/data"]\ncommand: x --dir my/data', ['3 WARNING process-path']],
    ['volumes: ["v:/data"]\ncommand: ["sh", "-c", "x $$WINDFLOW_ROOT/data"]', ['3 WARNING process-path']],
    ['volumes: ["v:/data"]\ncommand: x\nenvironment: { DIR: /data/db }', ['5 ERROR process-path']],
    ['volumes: ["v:/data"]\ncommand: x\nenvironment: ["DIR=/data"]', ['5 ERROR process-path']],
    ['volumes: ["v:/data"]\ncommand: x\nhealthcheck: { test: "ls /data" }', ['5 ERROR process-path']],
    ['configs: [{ source: c, target: etc/c }]\ncommand: x', []],
    ['configs: [c]\ncommand: x', ['3 INFO process-path']],
    ['configs: [c]\ncommand: x /c', ['4 ERROR process-path']],
    ['secrets: [s]\ncommand: x', ['3 INFO process-path']],
    ['secrets: [s]\ncommand: x run/secrets/s', ['3 INFO process-path']],
    ['secrets: [{ source: s, target: /etc/s }]\ncommand: x', ['3 WARNING process-path']],
    ['working_dir: app\ncommand: x', []],
    ['working_dir: /app\ncommand: x', ['3 WARNING process-path']],
  ])('should say of %j: %j', (lines, expected) => {
    expect(said(lines)).toEqual(expected);
  });

  it('should name the real place and how to use it', () => {
    expect(findings('volumes: ["v:/data"]\ncommand: x')[0]).toMatchObject({
      message: 'The process finds this at $WINDFLOW_ROOT/data, not at the absolute path.',
      suggestion: expect.stringContaining('"data"'),
    });
  });
});

describe('mounts', () => {
  it.each([
    ['"./x:/y"', ['3 ERROR process-mount']],
    ['"/x:/y"', ['3 ERROR process-mount']],
    ['"/x:/x"', ['3 ERROR process-mount']],
    ['"/x:/x:ro"', ['3 WARNING process-mount']],
    ['"data"', ['3 WARNING process-mount']],
    ['"v:data:ro"', ['3 WARNING process-mount']],
    ['{ type: tmpfs, target: tmp }', ['3 WARNING process-mount']],
    ['{ type: npipe, source: a, target: b }', ['3 ERROR process-mount']],
  ])('should say of %s: %j', (volume, expected) => {
    expect(said(`volumes: [${volume}]\ncommand: x`)).toEqual(expected);
  });
});

describe('peers', () => {
  it.each([
    'command: x postgres://u:p@db:5432/x',
    'command: x http://db/',
    'command: x --db db:5432',
    'command: x "host=db port=5432"',
    'command: x\nenvironment: { DB_HOST: db }',
    'command: x\nenvironment: ["URL=redis://db"]',
    'command: x\nhealthcheck: { test: "nc db:80" }',
  ])('should tell where the name of a service is used as a host: %j', (lines) => {
    expect(findings(lines)).toMatchObject([
      { rule: 'process-peer', severity: 'INFO', suggestion: expect.stringContaining('DB_HOST and DB_PORT') },
    ]);
  });

  it.each([
    'command: x db',
    'command: x --name=db',
    'command: x http://database/',
    'command: x http://a:80/',
    'command: x\nenvironment: { POSTGRES_DB: db }',
  ])('should not take %j for one', (lines) => {
    expect(said(lines)).toEqual([]);
  });

  it('should look into configs', () => {
    const text =
      'services: { a: { command: x, configs: [{ source: c, target: c }] }, api: { command: x } }\nconfigs: { c: { content: "proxy_pass http://api:80;" } }';
    expect(check(text, { runtime: 'PROCESS' }).said).toEqual(['2:17 INFO process-peer']);
  });

  it('should refuse services that would be told by the same variables', () => {
    expect(peerVariablePrefix('my-db.1')).toBe('MY_DB_1');
    const text = 'services: { a-b: { command: x }, a.b: { command: x } }';
    expect(check(text, { runtime: 'PROCESS' }).said).toEqual(['1:34 ERROR process-peer']);
  });
});

describe('health', () => {
  it('should warn of a health check without a test', () => {
    expect(said('command: x\nhealthcheck: { interval: 1s }')).toEqual(['4 WARNING process-health']);
    expect(said('command: x\nhealthcheck: { disable: true }')).toEqual([]);
  });
});
