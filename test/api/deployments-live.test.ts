import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Heard, listen, type SocketClient } from '../support/api-clients.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { service, stack, ticking, whenOk } from '../support/compose-stacks.ts';
import { Deployer, type DeploymentView, type LogView } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';

const STATUS = `subscription ($id: ID!) { deploymentStatus(deploymentId: $id) {
  id status revision progress statusReason services { name state } steps { name state } } }`;
const LOGS = `subscription ($id: ID!, $after: String, $last: Int, $filter: LogFilter) {
  deploymentLogs(deploymentId: $id, after: $after, last: $last, filter: $filter) {
    live endCursor missedLines lines { sequence cursor service stream level message } } }`;
const COUNTING = service(
  'web',
  'i=0; while :; do i=$$((i + 1)); echo line $$i; [ $$((i % 5)) = 0 ] && echo odd $$i >&2; sleep 0.02; done',
);

type Batch = { live: boolean; endCursor: string; missedLines: number; lines: LogView[] };

let app: TestApp;
let acme: Deployer;
let bystander: Bystander;
let client: SocketClient;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  bystander = await addBystander(acme);
  client = app.connect(acme.token);
});
afterAll(async () => {
  await client?.dispose();
  await app[Symbol.asyncDispose]();
});

const batchesOf = ({ results }: Heard): Batch[] => results.map(({ data }) => data.deploymentLogs);
const linesOf = (heard: Heard): LogView[] => batchesOf(heard).flatMap(({ lines }) => lines);
const sequencesOf = (heard: Heard) => linesOf(heard).map(({ sequence }) => sequence);
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
const follow = (id: string, args: object = {}, by = client) => listen(by, LOGS, { id, ...args });
const ended = (heard: Heard) => eventually('the end of a subscription', () => heard.end !== null);
/** How a subscription that was refused ended. */
const refusalOf = async (query: string, variables: Record<string, unknown>, by = client) => {
  const { heard } = listen(by, query, variables);
  await ended(heard);
  expect(heard.results).toEqual([]);
  return (heard.end as { errors?: { extensions: { code?: unknown } }[] }).errors?.[0]?.extensions.code;
};

describe('deploymentStatus', () => {
  it('should tell the state now, then each newest one, at most ten a second, and complete when it is final', async () => {
    const noisy = ticking('noisy', 'x', 'restart: always');
    const flapping = service('web', 'exit 1', 'restart: always');
    const { stackId, ...live } = await acme.deployNew(stack(noisy));
    await acme.changeStack(stackId, stack(noisy, flapping));
    const begun = await acme.begin(stackId);
    const times: number[] = [];
    const heard: Heard = { results: [], end: null };
    const done = new Promise<void>((resolve, reject) => {
      const next = (result: object) => {
        times.push(performance.now());
        heard.results.push(result);
      };
      client.subscribe({ query: STATUS, variables: { id: begun.id } }, { next, error: reject, complete: resolve });
    });
    await done;
    const states = heard.results.map(({ data }) => data.deploymentStatus);
    const revisions = states.map(({ revision }) => revision);
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
    const progress = states.map((state) => state.progress);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    expect(states.at(-1)).toMatchObject({
      status: 'FAILED',
      statusReason: expect.stringMatching(/restarted [3-9] times/),
    });
    expect(states.at(-1)).toEqual(
      await acme.read(begun.id).then(({ id, status, revision, progress: share, statusReason, services, steps }) => ({
        id,
        status,
        revision,
        progress: share,
        statusReason,
        services: services.map(({ name, state }) => ({ name, state })),
        steps: steps.map(({ name, state }) => ({ name, state })),
      })),
    );
    for (let index = 10; index < times.length; index++) expect(times[index]! - times[index - 10]!).toBeGreaterThan(900);
    // What is final already is told once.
    const { heard: late } = listen(client, STATUS, { id: begun.id });
    await ended(late);
    expect(late).toMatchObject({ results: [{ data: { deploymentStatus: { status: 'FAILED' } } }], end: 'complete' });
    await acme.stop(live.id);
  });

  it('should be refused with a code to those who may not see it', async () => {
    expect(await refusalOf(STATUS, { id: 'garbage' })).toBe('NOT_FOUND');
    expect(await refusalOf(STATUS, { id: acme.organizationId })).toBe('NOT_FOUND');
    const stranger = app.connect((await app.register()).accessToken);
    const { stackId: _stack, ...live } = await acme.deployNew(stack(ticking('web', 'x')));
    expect(await refusalOf(STATUS, { id: live.id }, stranger)).toBe('NOT_FOUND');
    expect(await refusalOf(LOGS, { id: live.id }, stranger)).toBe('NOT_FOUND');
    await stranger.dispose();
    await acme.stop(live.id);
  });
});

describe('deploymentLogs', () => {
  let live: DeploymentView;
  beforeAll(async () => {
    live = await acme.deployNew(stack(COUNTING));
    await acme.untilLogged(live.id, 'line 20');
  });

  it('should replay from the first line, turn live once, and go on without a gap', async () => {
    const { heard, stop } = follow(live.id);
    await eventually('many lines', () => linesOf(heard).some(({ message }) => message === 'line 80'));
    stop();
    const sequences = sequencesOf(heard);
    expect(sequences).toEqual(upTo(sequences.length));
    const batches = batchesOf(heard);
    const turn = batches.findIndex((batch) => batch.live);
    expect(turn).toBeGreaterThan(0);
    expect(batches.map((batch) => batch.live)).toEqual(batches.map((_, index) => index >= turn));
    expect(batches.every(({ missedLines }) => missedLines === 0)).toBe(true);
    for (const { lines, endCursor } of batches) if (lines.length > 0) expect(endCursor).toBe(lines.at(-1)!.cursor);
    const stored = await acme.log(live.id);
    expect(linesOf(heard).map(({ message }) => message)).toEqual(
      stored.slice(0, sequences.length).map(({ message }) => message),
    );
    expect(linesOf(heard).find(({ stream }) => stream === 'STDERR')).toMatchObject({ level: 'WARN', service: 'web' });
  });

  it('should go on after a cursor, of a line or of a batch', async () => {
    const stored = await acme.log(live.id);
    const { cursor } = stored[9]!;
    const { heard, stop } = follow(live.id, { after: cursor });
    await eventually('lines', () => linesOf(heard).length > 30);
    stop();
    expect(sequencesOf(heard)[0]).toBe(11);
    const { endCursor } = batchesOf(heard).at(-1)!;
    const next = follow(live.id, { after: endCursor });
    await eventually('a line', () => linesOf(next.heard).length > 0);
    next.stop();
    expect(sequencesOf(next.heard)[0]).toBe(sequencesOf(heard).at(-1)! + 1);
  });

  it('should begin with the last n matching lines, and none for 0', async () => {
    const filter = { streams: ['STDERR'] };
    const before = (await acme.log(live.id, filter)).map(({ sequence }) => sequence);
    const { heard, stop } = follow(live.id, { last: 3, filter });
    await eventually('two more', () => linesOf(heard).length >= 5);
    stop();
    const stored = (await acme.log(live.id, filter)).map(({ sequence }) => sequence);
    // Others may have come before the subscription began: it begins with the last three of that moment.
    const from = stored.indexOf(sequencesOf(heard)[0]!);
    expect(from).toBeGreaterThanOrEqual(before.length - 3);
    expect(sequencesOf(heard)).toEqual(stored.slice(from, from + sequencesOf(heard).length));
    const newest = (await acme.log(live.id)).at(-1)!.sequence;
    const none = follow(live.id, { last: 0 });
    await eventually('a line', () => linesOf(none.heard).length > 0);
    none.stop();
    expect(sequencesOf(none.heard)[0]).toBeGreaterThan(newest);
  });

  it('should leave out what the filter does, and complete after `until`', async () => {
    const until = new Date().toISOString();
    const { heard } = follow(live.id, { filter: { search: 'LINE 1', minLevel: 'INFO', services: ['web'], until } });
    await ended(heard);
    expect(heard.end).toBe('complete');
    const lines = linesOf(heard);
    expect(lines.length).toBeGreaterThan(10);
    expect(lines.every(({ message }) => /line 1/.test(message))).toBe(true);
    const { heard: other } = follow(live.id, { filter: { services: ['nobody'], until } });
    await ended(other);
    expect([linesOf(other), other.end]).toEqual([[], 'complete']);
  });

  it('should refuse what makes no sense', async () => {
    const id = live.id;
    const other = await acme.deployNew(stack(service('job', 'echo hi')));
    const foreign = (await acme.log(other.id))[0]!.cursor;
    const wrong: object[] = [
      { after: 'garbage' },
      { after: foreign },
      { last: -1 },
      { last: 10_001 },
      { last: 1, after: foreign },
    ];
    for (const args of wrong) expect(await refusalOf(LOGS, { id, ...args })).toBe('BAD_REQUEST');
    expect(await refusalOf(LOGS, { id, filter: { search: 'x'.repeat(501) } })).toBe('BAD_REQUEST');
    const page =
      'query ($id: ID!, $after: String) { deployment(id: $id) { logs(after: $after) { nodes { sequence } } } }';
    expect(await acme.refusal(page, { id, after: 'garbage' })).toBe('BAD_REQUEST');
    await acme.stop(other.id);
  });

  it('should end with NOT_FOUND, not complete, when membership ends', async () => {
    const member = await acme.addMember('VIEWER');
    const own = app.connect(member.token);
    const logs = follow(live.id, {}, own);
    const status = listen(own, STATUS, { id: live.id });
    await eventually('both', () => linesOf(logs.heard).length > 0 && status.heard.results.length > 0);
    const removed = 'OrganizationMemberRemove';
    const { organizationId } = acme;
    await acme.ask(`mutation ($input: ${removed}Input!) { organizationMemberRemove(input: $input) { __typename } }`, {
      input: { organizationId, userId: member.userId },
    });
    await Promise.all([ended(logs.heard), ended(status.heard)]);
    for (const { end } of [logs.heard, status.heard])
      expect(end).toMatchObject({ errors: [{ extensions: { code: 'NOT_FOUND' } }] });
    await own.dispose();
  });

  it('should complete when the deployment is final and all of it was sent', async () => {
    const { heard } = follow(live.id);
    await eventually('the turn to live', () => batchesOf(heard).some((batch) => batch.live));
    await acme.stop(live.id);
    await ended(heard);
    expect(heard.end).toBe('complete');
    const stored = await acme.log(live.id);
    expect(sequencesOf(heard)).toEqual(upTo(stored.length));
    expect(linesOf(heard).at(-1)!.message).toBe('deployment stopped');
    const again = follow(live.id, { last: 3 });
    await ended(again.heard);
    expect(linesOf(again.heard)).toEqual(linesOf(heard).slice(-3));
    expect(again.heard.end).toBe('complete');
  });
});

describe('the log of what a deployment leaves unchanged', () => {
  it('should move to the next deployment at its commit, without a line lost or told twice', async () => {
    const { stackId, ...first } = await acme.deployNew(stack(COUNTING));
    await acme.changeStack(stackId, stack(COUNTING, service('slow', 'sleep 0.5; touch ok; exec sleep 1000', whenOk())));
    const second = await acme.deploy(stackId);
    expect(second.status).toBe('RUNNING');
    await eventually('lines of the second', async () => (await acme.output(second.id)).length > 20);
    await acme.stop(second.id);
    const numbers = (await Promise.all([acme.output(first.id), acme.output(second.id)]))
      .flat()
      .flatMap((line) => /^web: line (\d+)$/.exec(line)?.[1] ?? [])
      .map(Number);
    expect(numbers).toEqual(upTo(numbers.length));
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());
