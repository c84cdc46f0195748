import { describe, expect, it } from 'vitest';
import { executionRow, READ_AT, stepRow } from '../../../test/support/execution-rows.ts';
import type { ToolCall } from '../../models/model.ts';
import { DAY_MS } from '../../shared/clock.ts';
import type { Approval, StepRow } from '../executions/procedure.ts';
import { agentConfiguration } from './configuration.ts';
import { APPROVAL_PATIENCE_DAYS, nextOfAgent } from './procedure.ts';

const CREATE = 'deployments.create';
const definitionOf = (configuration: object) => ({
  ...{ name: 'agent', model: 'builtin/echo', systemPrompt: null },
  configuration: agentConfiguration.parse(configuration),
});
const next = (steps: StepRow[], configuration: object = {}) =>
  nextOfAgent(executionRow({ definition: definitionOf(configuration) }), steps);

const calling = (...names: string[]): ToolCall[] =>
  names.map((name, index) => ({ id: `id${index}`, name, input: { n: index } }));
const turn = (number: number, output: object | null, change: Partial<StepRow> = {}): StepRow =>
  stepRow({
    ...{ key: `turn${number}`, kind: 'turn', position: 10 * number, attempt: 1, state: 'SUCCEEDED', output },
    ...change,
  });
const said = (text: string, toolCalls: ToolCall[] = [], value?: unknown) => ({ text, toolCalls, value });
const call = (key: string, change: Partial<StepRow> = {}): StepRow =>
  stepRow({ ...{ key, kind: 'tool', position: 99, state: 'SUCCEEDED', attempt: 1 }, ...change });

describe('the turns of an agent', () => {
  it('should begin with a turn, and wait for it', () => {
    const first = { key: 'turn1', kind: 'turn', dependsOn: [], state: 'RUNNING' };
    expect(next([])).toEqual({ orders: [first] });
    for (const state of ['RUNNING', 'RETRYING'] as const)
      expect(next([turn(1, null, { state })])).toEqual({ orders: [] });
  });

  it('should end with the text of a turn that wants nothing, or with its value', () => {
    const steps = [turn(1, said('{"a":1}', [], { a: 1 }))];
    expect(next(steps)).toEqual({ orders: [], conclusion: { status: 'COMPLETED', output: '{"a":1}' } });
    const outputSchema = { type: 'object' };
    expect(next(steps, { outputSchema }).conclusion).toEqual({ status: 'COMPLETED', output: { a: 1 } });
    const nothing = [turn(1, said('null', [], null))];
    expect(next(nothing, { outputSchema }).conclusion).toEqual({ status: 'COMPLETED', output: null });
  });

  it('should fail with a turn that failed', () => {
    const steps = [turn(1, null, { state: 'FAILED', error: 'no such model' })];
    expect(next(steps).conclusion).toEqual({ status: 'FAILED', reason: 'turn1: no such model' });
  });

  it('should call all tools of a turn at once, and ask again when the last of them is over', () => {
    const calls = calling('logs.search', 'stacks.read', 'nothing');
    const asked = turn(1, said('', calls));
    expect(next([asked]).orders).toEqual(
      calls.map(({ name, id, input }, index) => ({
        ...{ key: `turn1.call${index + 1}`, kind: 'tool', dependsOn: ['turn1'], state: 'RUNNING' },
        input: { tool: name, callId: id, arguments: input },
      })),
    );
    const [one, two, three] = [1, 2, 3].map((number) => call(`turn1.call${number}`));
    expect(next([asked, one!, { ...two!, state: 'RUNNING' }, three!])).toEqual({ orders: [] });
    const dependsOn = ['turn1.call1', 'turn1.call2', 'turn1.call3'];
    expect(next([asked, one!, { ...two!, state: 'FAILED' }, { ...three!, state: 'CANCELLED' }]).orders).toEqual([
      { key: 'turn2', kind: 'turn', dependsOn, state: 'RUNNING' },
    ]);
  });

  it('should not be more than it may take', () => {
    const asked = said('', calling('stacks.read'));
    const steps = [turn(1, asked), call('turn1.call1'), turn(2, asked), call('turn2.call1')];
    expect(next(steps, { maxTurns: 3 }).orders).toMatchObject([{ key: 'turn3' }]);
    expect(next(steps, { maxTurns: 2 })).toEqual({
      orders: [],
      conclusion: { status: 'FAILED', reason: expect.stringContaining('within 2 turns') },
    });
    const answered = [...steps.slice(0, 2), turn(2, said('done'))];
    expect(next(answered, { maxTurns: 2 }).conclusion).toEqual({ status: 'COMPLETED', output: 'done' });
  });
});

describe('a call of a tool that acts', () => {
  const asked = turn(1, said('', calling(CREATE, 'stacks.read')));
  const approval: Approval = { message: `${CREATE} {"n":0}`, role: 'DEVELOPER' };
  const decided = (approved: boolean, comment: string | null = null, change: Partial<StepRow> = {}) => [
    asked,
    call('turn1.call1', {
      ...{ state: 'WAITING', attempt: 0, approval: { ...approval, decision: { approved, comment, userId: 'u' } } },
      ...change,
    }),
    call('turn1.call2'),
  ];

  it('should wait for an approval, unless it may go without', () => {
    const { orders } = next([asked], { tools: [CREATE] });
    const wakeAt = new Date(READ_AT + APPROVAL_PATIENCE_DAYS * DAY_MS);
    expect(orders).toMatchObject([
      { key: 'turn1.call1', state: 'WAITING', approval, wakeAt },
      { key: 'turn1.call2', state: 'RUNNING' },
    ]);
    const free = next([asked], { tools: [CREATE], withoutApproval: [CREATE] });
    expect(free.orders.map(({ state }) => state)).toEqual(['RUNNING', 'RUNNING']);
  });

  it('should wait as long as nobody has decided, and then fail', () => {
    const waiting = call('turn1.call1', { state: 'WAITING', attempt: 0, approval, wakeAt: READ_AT + 1 });
    expect(next([asked, waiting, call('turn1.call2')])).toEqual({ orders: [] });
    expect(next([asked, { ...waiting, isDue: true }, call('turn1.call2')]).orders).toMatchObject([
      { key: 'turn1.call1', state: 'FAILED', error: 'nobody decided about it within 30 days' },
    ]);
  });

  it('should be done once it is approved, also where the decision came last', () => {
    for (const isDue of [false, true])
      expect(next(decided(true, null, { isDue })).orders).toMatchObject([{ key: 'turn1.call1', state: 'RUNNING' }]);
    expect(next(decided(true, null, { state: 'RUNNING', attempt: 1 }))).toEqual({ orders: [] });
  });

  it('should fail where it is refused, with what was said about it', () => {
    for (const [comment, words] of [
      [null, 'a person did not approve it'],
      ['not today', 'a person did not approve it: not today'],
    ] as const)
      expect(next(decided(false, comment)).orders).toMatchObject([{ state: 'FAILED', error: words }]);
  });
});
