import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { ACTING_TOOLS, agentConfiguration, agentConfigurationSchema, TOOL_NAMES } from './configuration.ts';

const faultsOf = (configuration: unknown) =>
  agentConfiguration.safeParse(configuration).error?.issues.map(({ path }) => path.join('.')) ?? [];

describe('agentConfiguration', () => {
  it('should fill in what is not given', () => {
    expect(agentConfiguration.parse({ retry: { attempts: 1 } })).toEqual({
      tools: [],
      withoutApproval: [],
      maxTurns: 10,
      timeoutSeconds: 600,
      retry: { attempts: 1, delaySeconds: 1, factor: 2 },
    });
    expect(agentConfiguration.parse({}).retry).toEqual({ attempts: 3, delaySeconds: 1, factor: 2 });
  });

  it('should take all that it knows', () => {
    const all = {
      temperature: 0.5,
      maxTokens: 1_000_000,
      tools: [...TOOL_NAMES],
      withoutApproval: [...ACTING_TOOLS],
      maxTurns: 50,
      timeoutSeconds: 86_400,
      outputSchema: { type: 'object', properties: { at: { type: 'string', format: 'date-time' } } },
      retry: { attempts: 10, delaySeconds: 3_600, factor: 10 },
    };
    expect(agentConfiguration.parse(all)).toEqual(all);
  });

  it.each([
    [{ temperature: 2.1 }, ['temperature']],
    [{ temperature: null }, ['temperature']],
    [{ maxTokens: 0 }, ['maxTokens']],
    [{ maxTurns: 51 }, ['maxTurns']],
    [{ maxTurns: 1.5 }, ['maxTurns']],
    [{ timeoutSeconds: 86_401 }, ['timeoutSeconds']],
    [{ tools: ['shell'] }, ['tools.0']],
    [{ tools: ['stacks.read', 'stacks.read'] }, ['tools']],
    [{ tools: ['logs.search'], withoutApproval: ['logs.search'] }, ['withoutApproval.0']],
    [{ tools: ['deployments.create'], withoutApproval: [...ACTING_TOOLS] }, ['withoutApproval.1']],
    [
      { retry: { attempts: 11, delaySeconds: -1, factor: 0 } },
      ['retry.attempts', 'retry.delaySeconds', 'retry.factor'],
    ],
    [{ outputSchema: { type: 'objekt' } }, ['outputSchema']],
    [{ outputSchema: { $ref: 'https://example.com/schema.json' } }, ['outputSchema']],
    [{ outputSchema: { properties: { a: { pattern: '(' } } } }, ['outputSchema']],
    [{ outputSchema: { $async: true } }, ['outputSchema']],
    [{ outputSchema: [] }, ['outputSchema']],
    [{ temprature: 1 }, ['']],
    ['fast', ['']],
  ])('should refuse %j', (configuration, paths) => {
    expect(faultsOf(configuration)).toEqual(paths);
  });

  it('should take schemas of one "$id" as often as they come', () => {
    for (const type of ['string', 'number']) expect(faultsOf({ outputSchema: { $id: 'answer', type } })).toEqual([]);
  });
});

describe('agentConfigurationSchema', () => {
  const schema = agentConfigurationSchema();

  it('should take what is taken, and refuse what is refused', () => {
    const check = new Ajv2020().compile(schema);
    expect(check({ tools: ['deployments.create'], retry: {} })).toBe(true);
    expect(check({})).toBe(true);
    expect(check({ tools: ['shell'] })).toBe(false);
    expect(check({ tools: ['stacks.read', 'stacks.read'] })).toBe(false);
    expect(check({ temprature: 1 })).toBe(false);
  });

  it('should say what each field is for', () => {
    const fields = Object.entries(schema.properties as Record<string, { description?: string }>);
    expect(fields.filter(([, { description }]) => !description)).toEqual([]);
  });
});
