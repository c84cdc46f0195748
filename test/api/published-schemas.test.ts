import { readdirSync, readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { startApp, type TestApp } from '../support/app.ts';

const EXAMPLES = new URL('../../examples/workflows/', import.meta.url);

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ publicUrl: 'https://flow.example.com' });
});
afterAll(() => app?.[Symbol.asyncDispose]());

const get = (path: string) => fetch(`http://127.0.0.1:${app.port}${path}`);
async function checkOf(path: string): Promise<ValidateFunction> {
  return new Ajv2020({ strict: true, strictTypes: false }).compile(await (await get(path)).json());
}

describe.each(['/schemas/workflow.json', '/schemas/agent-configuration.json'])('%s', (path) => {
  it('should be told to anybody, under its address, for a day', async () => {
    const response = await get(path);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/schema+json');
    expect(response.headers.get('cache-control')).toBe('public, max-age=86400');
    expect(await response.json()).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: `https://flow.example.com${path}`,
      title: expect.any(String),
      description: expect.any(String),
    });
  });
});

describe('the schema of workflows', () => {
  it.each(readdirSync(EXAMPLES))('should accept %s', async (name) => {
    const check = await checkOf('/schemas/workflow.json');
    expect(check(parse(readFileSync(new URL(name, EXAMPLES), 'utf8'))), JSON.stringify(check.errors)).toBe(true);
  });

  it('should refuse what is none', async () => {
    const check = await checkOf('/schemas/workflow.json');
    const wrong: object[] = [
      {},
      { steps: { a: { kind: 'nothing' } } },
      { steps: { a: { kind: 'delay' } } },
      { steps: { a: { kind: 'delay', seconds: 1, needs: 'b' } } },
      { steps: { 'not-a-name': { kind: 'delay', seconds: 1 } } },
      { steps: { a: { kind: 'delay', seconds: 1 } }, more: 1 },
    ];
    expect(wrong.map((each) => check(each))).toEqual(wrong.map(() => false));
  });
});

describe('the schema of agents’ configurations', () => {
  it('should accept what agentCreate takes, and nothing else', async () => {
    const check = await checkOf('/schemas/agent-configuration.json');
    const right = [{}, { tools: ['logs.search'], maxTurns: 5, retry: { attempts: 2 } }];
    const wrong = [{ tools: ['shell'] }, { temperature: 3 }, { tools: ['logs.search', 'logs.search'] }, { more: 1 }];
    expect([...right, ...wrong].map((each) => check(each))).toEqual([true, true, false, false, false, false]);
  });
});
