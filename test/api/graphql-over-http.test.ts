import { serverAudits } from 'graphql-http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../support/api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api[Symbol.asyncDispose]());

// Not only what a server MUST: also what it SHOULD and MAY.
for (const { id, name, fn } of serverAudits({ url: () => api.url })) {
  it(`should keep to GraphQL over HTTP: ${name} (${id})`, async () => {
    const result = await fn();
    expect(result, result.status === 'ok' ? '' : `${result.status}: ${result.reason}`).toMatchObject({ status: 'ok' });
  });
}
