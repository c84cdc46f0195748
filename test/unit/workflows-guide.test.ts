import { readdirSync, readFileSync } from 'node:fs';
import { buildSchema, parse, validate } from 'graphql';
import { describe, expect, it } from 'vitest';
import * as interruptions from '../../src/modules/executions/advance.ts';
import * as attempts from '../../src/modules/executions/procedure.ts';
import * as executions from '../../src/modules/executions/requests.ts';
import * as times from '../../src/modules/executions/time-budget.ts';
import { checkDefinition } from '../../src/modules/workflows/check.ts';
import * as children from '../../src/modules/workflows/children.ts';
import * as definition from '../../src/modules/workflows/definition.ts';
import * as chain from '../../src/modules/workflows/event-chain.ts';
import * as events from '../../src/modules/workflows/event-worker.ts';
import * as expression from '../../src/modules/workflows/expression.ts';
import * as inputs from '../../src/modules/workflows/inputs.ts';
import * as procedure from '../../src/modules/workflows/procedure.ts';
import * as service from '../../src/modules/workflows/service.ts';
import * as values from '../../src/modules/workflows/values.ts';
import * as webhooks from '../../src/modules/workflows/webhooks.ts';

const ROOT = new URL('../../', import.meta.url);
const EXAMPLES = 'examples/workflows';
const CONSTANTS: Record<string, unknown> = {
  ...{
    ...attempts,
    ...interruptions,
    ...executions,
    ...children,
    ...chain,
    ...events,
    ...expression,
    ...inputs,
    ...procedure,
    ...service,
    ...times,
    ...values,
    ...webhooks,
  },
  ...definition,
};

const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');
const blocks = (path: string, language: string): string[] =>
  [...read(path).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, text]) => text!);

describe('the examples of workflows', () => {
  const names = readdirSync(new URL(EXAMPLES, ROOT));

  it('should be three', () => {
    expect(names).toHaveLength(3);
  });

  it.each(names)('should have no fault: %s', (name) => {
    expect(checkDefinition(read(`${EXAMPLES}/${name}`)).faults).toEqual([]);
  });
});

describe('the guides to workflows and agents', () => {
  const snippets = blocks('docs/workflows.md', 'yaml');

  it.each(snippets)('should have definitions without a fault alone (%#)', (snippet) => {
    expect(checkDefinition(snippet).faults).toEqual([]);
  });

  it('should show every kind of step and of trigger', () => {
    const shown = new Set(snippets.flatMap((text) => [...text.matchAll(/kind: (\w+)/g)].map(([, kind]) => kind!)));
    const { steps, triggers } = definition.workflowDefinition.shape;
    const kindsOf = (options: readonly { shape: { kind: { value: string } } }[]) =>
      options.map(({ shape }) => shape.kind.value);
    const stepKinds = kindsOf(steps.valueType.options);
    const triggerKinds = kindsOf(triggers.unwrap().element.options);
    expect([...shown].sort()).toEqual([...stepKinds, ...triggerKinds].sort());
  });

  it('should tell the limits as they are', () => {
    const rows = [...read('docs/workflows.md').matchAll(/^\| `([A-Z_]+)` \| (\d+) \|/gm)];
    const told = Object.fromEntries(rows.map(([, name, value]) => [name!, Number(value)]));
    expect(Object.keys(told).length).toBeGreaterThan(10);
    expect(told).toEqual(Object.fromEntries(Object.keys(told).map((name) => [name, CONSTANTS[name]])));
  });

  it.each(['docs/workflows.md', 'docs/agents.md'])('should only have operations that the schema knows: %s', (path) => {
    const schema = buildSchema(read('schema/schema.graphql'));
    const operations = blocks(path, 'graphql');
    expect(operations).not.toEqual([]);
    for (const operation of operations) expect(validate(schema, parse(operation)), operation).toEqual([]);
  });
});
