import { beforeEach, describe, expect, it, vi } from 'vitest';
import { createCircuitBreaker, MAX_FAILURES, OPEN_MS, type Timing } from './circuit-breaker.ts';
import { type Model, ModelError, type Turn, type TurnOptions, type TurnResult } from './model.ts';

const TURN: Turn = { instructions: null, messages: [], tools: [] };
const ANSWER: TurnResult = { text: 'hi', toolCalls: [], usage: { inputTokens: 1, outputTokens: 1 } };
const outage = () => new ModelError('answered 500', { isTransient: true, isOutage: true });
const refusal = () => new ModelError('refuses the key (401)');

/** Time that passes when a test says so. */
class TestTime implements Timing {
  #now = 0;
  readonly timers = new Map<object, { at: number; then: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, then: () => void): () => void {
    const timer = {};
    this.timers.set(timer, { at: this.#now + ms, then });
    return () => void this.timers.delete(timer);
  }

  pass(ms: number): void {
    this.#now += ms;
    for (const [timer, { at, then }] of this.timers) if (at <= this.#now && this.timers.delete(timer)) then();
  }
}

/** What a model was asked and has not answered yet. */
type Asked = PromiseWithResolvers<TurnResult> & TurnOptions;

let time: TestTime;
let asked: Asked[];
let guard: (model: Model) => Model;
beforeEach(() => {
  time = new TestTime();
  asked = [];
  guard = createCircuitBreaker({ timing: time });
});

const model: Model = {
  takeTurn(_turn, options) {
    const turn = { ...Promise.withResolvers<TurnResult>(), ...options };
    asked.push(turn);
    return turn.promise;
  },
};
/** Each with a model of its own, as each agent has. */
const ask = (signal = new AbortController().signal, onText: TurnOptions['onText'] = () => undefined) => {
  const answer = guard({ ...model }).takeTurn(TURN, { signal, onText });
  answer.catch(() => undefined);
  return answer;
};
const settled = async () => {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
};
/** What comes next of what was asked. */
const next = async () => {
  await settled();
  return asked.shift()!;
};
const fail = async (error: Error) => {
  const answer = ask();
  (await next()).reject(error);
  await expect(answer).rejects.toBe(error);
};
const open = async () => {
  for (let failures = 0; failures < MAX_FAILURES; failures++) await fail(outage());
};

describe('a server that fails again and again', () => {
  it('should be asked nothing for a while, without a failure of who asks', async () => {
    await open();
    const answer = ask();
    time.pass(OPEN_MS - 1);
    await settled();
    expect(asked).toEqual([]);
    time.pass(1);
    (await next()).resolve(ANSWER);
    expect(await answer).toBe(ANSWER);
    expect(time.timers.size).toBe(0);
  });

  it('should then be asked by the first who waits, and by all others once it answers', async () => {
    await open();
    const answers = [ask(), ask(), ask()];
    time.pass(OPEN_MS);
    const probe = await next();
    expect(asked).toEqual([]);
    probe.resolve(ANSWER);
    await settled();
    expect(asked).toHaveLength(2);
    for (const each of asked) each.resolve(ANSWER);
    expect(await Promise.all(answers)).toEqual([ANSWER, ANSWER, ANSWER]);
  });

  it('should be left alone again where that fails, and the next one find out', async () => {
    await open();
    const [first, second] = [ask(), ask()];
    time.pass(OPEN_MS);
    const error = outage();
    (await next()).reject(error);
    await expect(first).rejects.toBe(error);
    time.pass(OPEN_MS - 1);
    await settled();
    expect(asked).toEqual([]);
    time.pass(1);
    (await next()).resolve(ANSWER);
    expect(await second).toBe(ANSWER);
  });

  it('should be back as soon as it speaks', async () => {
    await open();
    const heard = vi.fn();
    ask(undefined, heard);
    ask();
    time.pass(OPEN_MS);
    const probe = await next();
    probe.onText('h');
    expect(heard).toHaveBeenCalledWith('h');
    expect(await next()).toBeDefined();
  });

  it('should leave it to the next to find out where a request tells nothing about it', async () => {
    await open();
    const cancel = new AbortController();
    const answers = [ask(), ask(cancel.signal), ask()];
    time.pass(OPEN_MS);
    (await next()).reject(refusal());
    await expect(answers[0]).rejects.toThrow('401');
    const reason = new Error('cancelled');
    cancel.abort(reason);
    (await next()).reject(reason);
    await expect(answers[1]).rejects.toBe(reason);
    (await next()).resolve(ANSWER);
    expect(await answers[2]).toBe(ANSWER);
  });

  it('should not be waited for longer than the signal allows, and no timer be left', async () => {
    await open();
    const reason = new Error('late');
    const [one, other] = [new AbortController(), new AbortController()];
    const answers = [ask(one.signal), ask(other.signal)];
    one.abort(reason);
    await expect(answers[0]).rejects.toBe(reason);
    expect(time.timers.size).toBe(1);
    other.abort(reason);
    await expect(answers[1]).rejects.toBe(reason);
    expect(time.timers.size).toBe(0);
    await expect(ask(AbortSignal.abort(reason))).rejects.toBe(reason);
    time.pass(OPEN_MS);
    // Whoever waits for what another one finds out may give up as well.
    const third = new AbortController();
    ask();
    const late = ask(third.signal);
    const probe = await next();
    third.abort(reason);
    await expect(late).rejects.toBe(reason);
    probe.resolve(ANSWER);
    await settled();
    expect(asked).toEqual([]);
  });

  it('should count failures in a row alone, and none of before it was left alone', async () => {
    for (let failures = 1; failures < MAX_FAILURES; failures++) await fail(outage());
    ask();
    (await next()).resolve(ANSWER);
    const former = [ask(), ask()];
    const [one, other] = [await next(), await next()];
    await open();
    const waiting = ask();
    one.reject(outage());
    other.resolve(ANSWER);
    await Promise.allSettled(former);
    await settled();
    expect(asked).toEqual([]);
    time.pass(OPEN_MS);
    (await next()).resolve(ANSWER);
    expect(await waiting).toBe(ANSWER);
  });
});

it('should go on asking where a key or a request is at fault, however often', async () => {
  for (let failures = 0; failures < 2 * MAX_FAILURES; failures++) {
    await fail(refusal());
    await fail(new ModelError('answered 429', { isTransient: true }));
  }
  const answer = ask();
  (await next()).resolve(ANSWER);
  expect(await answer).toBe(ANSWER);
});
