import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { dependsOn, service, stack } from '../support/compose-stacks.ts';
import { Deployer } from '../support/deployer.ts';

const MIB = 1024 * 1024;
const SLEEPER = stack(service('web', 'exec sleep 1000'));

let app: TestApp;
let acme: Deployer;
let bystander: Bystander;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  bystander = await addBystander(acme);
});
afterAll(() => app[Symbol.asyncDispose]());

const store = (compose: string) =>
  acme.try('stackCreate', 'Stack { id }', { organizationId: acme.organizationId, name: 'x', compose });

describe('a token', () => {
  const DEPLOY = 'mutation ($input: DeploymentCreateInput!) { deploymentCreate(input: $input) { __typename } }';
  const input = { stackId: 'x', environmentId: 'y' };

  it('should be there, and be one of ours', async () => {
    const [head, body] = acme.token.split('.');
    const none = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
    for (const token of [undefined, '', 'garbage', `${head}.${body}.AAAA`, `${none}.${body}.`]) {
      const { data, errors } = await app.execute(DEPLOY, { input }, token === undefined ? {} : { token });
      expect(errors[0]).toMatchObject({ extensions: { code: 'UNAUTHENTICATED', requestId: expect.any(String) } });
      expect(data?.deploymentCreate ?? null).toBeNull();
    }
  });
});

describe('a compose file', () => {
  it.each([
    ['is no YAML', 'services:\n  web: [unclosed\n', /line [23]/],
    ['is a list', '- web\n', /line 1/],
    ['is empty', '', /empty|no services|line 1/i],
    ['has a tab', 'services:\n\tweb: {}\n', /line 2/],
    ['names a service twice', 'services:\n  web: { command: a }\n  web: { command: b }\n', /line 3/],
    [
      'depends in a circle',
      stack(service('a', 'x', dependsOn('b', 'service_started')), service('b', 'x', dependsOn('a', 'service_started'))),
      /a.*b|b.*a/,
    ],
    ['depends on itself', stack(service('a', 'x', dependsOn('a', 'service_started'))), /itself|a/],
    ['holds an alias bomb', bomb(), /alias|large|values|nodes/i],
    ['is nested too deeply', `x-deep: ${'['.repeat(20_000)}${']'.repeat(20_000)}\n${SLEEPER}`, /deep|nest|token/i],
    ['has more than 1 MiB', `${SLEEPER}# ${'x'.repeat(MIB)}\n`, /1,048,576/],
    ['holds NUL', `${SLEEPER}x-nul: "\\0"\nservices: { web: { command: ["a\\0b"] } }`, /line/],
  ])('should be refused in words when it %s', async (_what, compose, words) => {
    const before = performance.now();
    const refused = await store(compose);
    expect(refused).toMatchObject({
      __typename: 'ValidationError',
      code: 'VALIDATION_ERROR',
      fields: [{ path: ['compose'] }],
    });
    expect(`${refused.message} ${JSON.stringify(refused.findings)}`).toMatch(words);
    expect(refused.message.length).toBeLessThan(2_000);
    expect(performance.now() - before).toBeLessThan(5_000);
  });

  it('should be taken with exactly 1 MiB', async () => {
    const padding = MIB - Buffer.byteLength(`${SLEEPER}# \n`);
    expect(await store(`${SLEEPER}# ${'x'.repeat(padding)}\n`)).toMatchObject({ __typename: 'Stack' });
  });
});

describe('a document', () => {
  it('should be refused when it is deep, or an alias bomb', async () => {
    const deep = `{ viewer ${'{ organizations { nodes { environments { nodes '.repeat(5)} { id } ${'}'.repeat(21)}`;
    expect(await acme.refusal(deep)).toMatch(/^(BAD_REQUEST|QUERY_TOO_COMPLEX)$/);
    const aliases = Array.from({ length: 200 }, (_, n) => `a${n}: viewer { isSuperadmin }`).join(' ');
    expect(await acme.refusal(`{ ${aliases} }`)).toMatch(/^(BAD_REQUEST|QUERY_TOO_COMPLEX)$/);
  });
});

describe('a variable', () => {
  it('should reach a service with newlines and equals signs, and be refused with NUL or another name', async () => {
    const value = 'one = 1\ntwo\r\n\n= "three"';
    await acme.setVariable('LINES', value);
    const compose = stack(service('web', 'printf %s \\"$$LINES\\" | base64 -w0', 'environment: [LINES]'));
    const done = await acme.deployNew(compose);
    expect(done.status).toBe('RUNNING');
    await acme.untilLogged(done.id, Buffer.from(value).toString('base64'));
    expect(await acme.output(done.id)).toEqual([`web: ${Buffer.from(value).toString('base64')}`]);
    await acme.stop(done.id);
    const set = (name: string, text: string) =>
      acme.try('environmentVariableSet', 'Environment { id }', {
        environmentId: acme.environmentId,
        name,
        value: text,
      });
    expect(await set('A', 'a\0b')).toMatchObject({ __typename: 'ValidationError', fields: [{ path: ['value'] }] });
    expect(await set('A=B', 'c')).toMatchObject({ __typename: 'ValidationError', fields: [{ path: ['name'] }] });
    expect(await set('A\nB', 'c')).toMatchObject({ __typename: 'ValidationError', fields: [{ path: ['name'] }] });
  });

  it('should be named when it is missing', async () => {
    const failed = await acme.deployNew('services: { web: { command: ["echo", "${NOWHERE:?set it first}"] } }');
    expect(failed.status).toBe('FAILED');
    expect(failed.statusReason).toMatch(/NOWHERE.*set it first/);
  });
});

describe('what cannot run', () => {
  it('should be said of a file that is no program, and of a directory that cannot be', async () => {
    const noProgram = stack('\n  web: { command: ["./notes"], configs: [{ source: notes, target: notes }] }');
    const failed = await acme.deployNew(`${noProgram}configs: { notes: { content: "just notes" } }\n`);
    expect(failed.statusReason).toMatch(/^service web: .*not executable/);
    const outside = await acme.deployNew('services: { web: { command: [sleep, "1"], working_dir: ../../.. } }');
    expect(outside.status).toBe('FAILED');
    expect(outside.statusReason).toMatch(/leads out of the service/);
  });

  it('should end FAILED, not stuck, when its port is taken before it listens', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const failed = await acme.deployNew(
      `services: { web: { command: [sleep, "9"], ports: ["127.0.0.1:${port}:${port}"] } }`,
    );
    expect(failed.statusReason).toBe(`service web: port ${port}/tcp is already in use by another program on this host`);
    await new Promise((resolve) => server.close(resolve));
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());

function bomb(): string {
  const levels = Array.from({ length: 9 }, (_, level) => {
    const below = level === 0 ? '"x"' : `*l${level - 1}`;
    return `x-l${level}: &l${level} [${Array.from({ length: 9 }, () => below).join(', ')}]`;
  });
  return `${levels.join('\n')}\n${SLEEPER}`;
}
