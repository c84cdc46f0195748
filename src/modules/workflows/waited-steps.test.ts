import { describe, expect, it } from 'vitest';
import { READ_AT } from '../../../test/support/execution-rows.ts';
import { Run } from '../../../test/support/workflow-board.ts';

describe('a step that waits', () => {
  const retry = { attempts: 2, delaySeconds: 60 };
  const timeoutSeconds = 10;

  it('should ask anew where nobody decided in time, and is tried again', () => {
    const run = new Run({ ask: { kind: 'approval', message: 'Go ${{ 1 + 1 }}?', timeoutSeconds, retry } });
    const asked = { message: 'Go 2?', role: 'ADMIN' };
    expect(run.later(10).of('ask')).toMatchObject({ state: 'RETRYING', error: 'nothing came of it within 10 s' });
    expect(run.move).toMatchObject({ to: 'WAITING', reason: 'it is tried again later' });
    expect(run.later(60).of('ask')).toMatchObject({ state: 'WAITING', attempt: 2, error: null, approval: asked });
    expect(run.of('ask').wakeAt).toBe(READ_AT + 80_000);
    expect(run.move).toMatchObject({ to: 'WAITING', reason: 'it waits for an approval: ask' });
    expect(run.later(10).of('ask')).toMatchObject({ state: 'FAILED', error: 'nothing came of it within 10 s' });
  });

  it('should not ask again once somebody said no', () => {
    const run = new Run({ ask: { kind: 'approval', message: 'Go?', retry } });
    const decision = { approved: false, comment: 'not today', userId: 'somebody' };
    run.steps = run.steps.map((step) => ({ ...step, approval: { ...step.approval!, decision } }));
    expect(run.go().of('ask')).toMatchObject({ state: 'FAILED', error: 'it was not approved: not today' });
  });

  it('should wait for an event again, for each entry as for a step alone', () => {
    const event = { kind: 'waitForEvent', event: 'deployment.stopped', timeoutSeconds, retry };
    const run = new Run({ alone: event, each: { ...event, forEach: '["x"]', where: 'event.subjectId == item' } });
    run.later(10);
    expect(run.states).toEqual({ alone: 'RETRYING', each: 'WAITING', 'each[0]': 'RETRYING' });
    run.later(60);
    const wakeAt = READ_AT + 80_000;
    const again = { state: 'WAITING', waitsFor: 'deployment.stopped', wakeAt, isDue: false };
    expect(run.of('alone')).toMatchObject(again);
    expect(run.of('each[0]')).toMatchObject({ ...again, input: { item: 'x', index: 0 } });
    run.later(10);
    expect(run.states).toEqual({ alone: 'FAILED', each: 'FAILED', 'each[0]': 'FAILED' });
  });

  it('should fail where its time ends before a delay does', () => {
    const run = new Run({ wait: { kind: 'delay', seconds: 60, timeoutSeconds, retry: { ...retry, delaySeconds: 0 } } });
    expect(run.of('wait').wakeAt).toBe(READ_AT + 10_000);
    expect(run.later(10).of('wait')).toMatchObject({ state: 'WAITING', failures: 1, wakeAt: READ_AT + 20_000 });
    expect(run.later(10).of('wait')).toMatchObject({ state: 'FAILED', error: 'it took longer than 10 s' });
    const inTime = new Run({ wait: { kind: 'delay', seconds: 10, timeoutSeconds } });
    expect(inTime.later(10).of('wait')).toMatchObject({ state: 'SUCCEEDED', error: null });
  });

  it.each(['1e300', '2592001', '-1', '"soon"', 'double("NaN")'])('should refuse a delay of %s seconds', (n) => {
    const run = new Run({ wait: { kind: 'delay', seconds: `\${{ dyn(${n}) }}` } });
    expect(run.of('wait')).toMatchObject({ state: 'FAILED', error: expect.stringMatching(/2592000|JSON has no/) });
  });

  it('should have no failure left over once it succeeded', () => {
    const run = new Run({ ask: { kind: 'agent', agentId: 'an-agent', input: 'Well?', retry } });
    run.fail('ask', true).later(60);
    const output = { status: 'COMPLETED', reason: null, output: 'yes' };
    run.go({ key: 'ask', attempt: 2, result: 'waiting' });
    run.steps = run.steps.map((step) => ({ ...step, output }));
    expect(run.go().of('ask')).toMatchObject({ state: 'SUCCEEDED', output: 'yes', error: null });
  });
});
