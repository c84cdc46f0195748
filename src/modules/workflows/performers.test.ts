import { afterEach, expect, it, vi } from 'vitest';
import { executionRow, stepRow } from '../../../test/support/execution-rows.ts';
import type { GuardedRequest } from '../../shared/guarded-http.ts';
import { createPerformers, type PerformerDependencies } from './performers.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

it.each([
  ['its own time', 60, 60_000],
  ['the usual time', undefined, undefined],
  ['more time than a timer takes', 30 * 24 * 60 * 60, 2 ** 31 - 1],
])('should give a request %s', async (_what, timeoutSeconds, timeoutMs) => {
  const sent: GuardedRequest[] = [];
  const send = async (request: GuardedRequest) => {
    sent.push(request);
    return { status: 200, headers: {}, body: '', isCut: false, url: request.url };
  };
  const timers = vi.spyOn(AbortSignal, 'timeout');
  const { http } = createPerformers({ http: { send } } as unknown as PerformerDependencies);
  const { signal } = new AbortController();
  const execution = executionRow({ definition: { steps: { call: { kind: 'http', timeoutSeconds } } } });
  const step = stepRow({ key: 'call[0]', kind: 'http' });
  const work = { execution, step, steps: [step], signal, cancelled: signal, write: async () => undefined };
  await http(work, { url: 'https://example.org', method: 'GET' });
  expect(sent.map((request) => request.timeoutMs)).toEqual([timeoutMs]);
  expect(timers.mock.calls).toEqual(timeoutMs === undefined ? [] : [[timeoutMs]]);
});
