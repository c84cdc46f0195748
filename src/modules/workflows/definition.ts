import { z } from 'zod';
import type { FieldProblem } from '../../shared/errors.ts';
import { agentConfiguration } from '../agents/configuration.ts';
import { retryPolicy } from '../executions/procedure.ts';

export const MAX_DEFINITION_BYTES = 256 * 1024;
export const MAX_STEPS = 100;
export const MAX_ITEMS = 1_000;
export const MAX_TIMEOUT_SECONDS = 30 * 24 * 60 * 60;
export const DEFAULT_TIMEOUT_SECONDS = 60 * 60;
const MAX_TRIGGERS = 20;
const MAX_TEXT = 16 * 1024;

/** Words of the expression language: a step or an input of such a name could not be named there. */
const RESERVED = new Set(
  'as break const continue else false for function if import in let loop namespace null package return true var void while'.split(
    ' ',
  ),
);

const name = z
  .string()
  .regex(
    /^[a-z][a-zA-Z0-9_]{0,49}$/,
    'must begin with a–z and have 1 to 50 of a–z, A–Z, 0–9 and "_", like "deployStaging"',
  )
  .refine((text) => !RESERVED.has(text), 'is a word of the expression language: take another name');
const text = z.string().min(1, 'may not be empty').max(MAX_TEXT, `must have at most ${MAX_TEXT} characters`);
const expression = text.describe('An expression of the Common Expression Language.');
const template = text.describe('A text; expressions in it stand in ${{ }}.');
const orTemplate = <Schema extends z.ZodType>(schema: Schema) => z.union([schema, template]);
const values = z.record(z.string(), z.unknown());
const seconds = (least: number, most: number) => z.number().min(least).max(most);

const retry = retryPolicy.describe('What happens after a failure that may pass.');

const common = {
  needs: z.array(z.string()).max(MAX_STEPS).default([]).describe('Steps that must have ended before.'),
  if: expression
    .optional()
    .describe('Whether it runs, once all that it needs has ended, however. Without: it runs if all of that succeeded.'),
  forEach: expression
    .optional()
    .describe(`A list, up to ${MAX_ITEMS} entries: it runs for each, as \`item\` and \`index\`.`),
  maxParallel: z.int().min(1).max(50).default(10).describe('How many entries of forEach at once.'),
  retry: retry.optional(),
  timeoutSeconds: z.number().min(1).max(MAX_TIMEOUT_SECONDS).optional().describe('Of each attempt, waiting included.'),
  continueOnError: z.boolean().default(false).describe('Whether the run may succeed where this step fails.'),
};

const step = <Kind extends string, Fields extends z.ZodRawShape>(kind: Kind, fields: Fields) =>
  z.strictObject({ kind: z.literal(kind), ...common, ...fields });

const steps = z.discriminatedUnion('kind', [
  step('agent', {
    agentId: template.describe('The global ID of an agent.'),
    input: template.describe('What it is told.'),
    outputSchema: agentConfiguration.shape.outputSchema,
  }),
  step('deploy', {
    stackId: template.describe('The global ID of a stack.'),
    environmentId: template.describe('The global ID of an environment.'),
    stackVersion: orTemplate(z.int().min(1)).optional().describe('Absent: the current one.'),
    strategy: z.enum(['RECREATE', 'ROLLING', 'BLUE_GREEN']).optional(),
  }),
  step('rollback', {
    deploymentId: template.describe('The global ID of the deployment to go back from.'),
    toDeploymentId: template.optional().describe('Absent: what ran before it.'),
  }),
  step('http', {
    url: template,
    method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']).default('GET'),
    headers: z.record(z.string(), template).optional(),
    body: z.unknown().optional().describe('A text, or JSON.'),
    expectStatus: z.array(z.int().min(100).max(599)).max(20).optional().describe('Absent: 200–299.'),
  }),
  step('approval', {
    message: template.describe('What is asked of whoever decides.'),
    role: z.enum(['DEVELOPER', 'ADMIN', 'OWNER']).default('ADMIN').describe('The least role that may decide.'),
  }),
  step('delay', { seconds: orTemplate(seconds(0, MAX_TIMEOUT_SECONDS)) }),
  step('waitForEvent', {
    event: z.string().min(1).describe('A type of docs/events.md.'),
    where: expression.optional().describe('Which one: an expression about `event`.'),
  }),
  step('workflow', { workflowId: template.describe('The global ID of a workflow.'), input: values.optional() }),
  step('notify', { channelId: template.describe('The global ID of a notification channel.'), message: template }),
]);

const input = z.strictObject({
  type: z.enum(['string', 'integer', 'number', 'boolean', 'list', 'object']),
  description: z.string().max(500).optional(),
  default: z.unknown().optional().describe('Absent: it has to be given.'),
});

const triggerInput = { input: values.optional().describe('What the run is given.') };
const trigger = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('cron'),
    schedule: z.string().describe('Five fields, UTC: "30 3 * * 1-5".'),
    missed: z.enum(['run-once', 'skip']).default('run-once').describe('Where no server ran at the time.'),
    ...triggerInput,
  }),
  z.strictObject({
    kind: z.literal('event'),
    event: z.string().min(1).describe('A type of docs/events.md.'),
    where: expression.optional().describe('Which ones: an expression about `event`.'),
    ...triggerInput,
  }),
  z.strictObject({ kind: z.literal('webhook'), ...triggerInput }),
]);

const concurrency = z.strictObject({
  key: template.describe('Runs with the same key are one at a time.'),
  policy: z.enum(['queue', 'cancel-running', 'skip']).default('queue'),
});

/** What a workflow is: published as a JSON Schema, written as JSON or YAML. */
export const workflowDefinition = z.strictObject({
  inputs: z.record(name, input).default({}).describe('What a run is given.'),
  triggers: z.array(trigger).max(MAX_TRIGGERS).default([]).describe('What begins a run by itself.'),
  concurrency: concurrency.optional(),
  timeoutSeconds: z
    .number()
    .min(1)
    .max(MAX_TIMEOUT_SECONDS)
    .default(DEFAULT_TIMEOUT_SECONDS)
    .describe('Of a whole run.'),
  steps: z
    .record(name, steps)
    .refine((named) => Object.keys(named).length > 0, 'must have a step')
    .refine((named) => Object.keys(named).length <= MAX_STEPS, `must have at most ${MAX_STEPS} steps`)
    .describe('By name.'),
  output: z.unknown().optional().describe('Of the whole run; absent: nothing.'),
});

/** The JSON Schema of what is given as a definition. */
export function workflowSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(workflowDefinition, { io: 'input' });
  const description =
    'Steps that need each other, and what begins them: see docs/workflows.md. Expressions are checked by the server.';
  return { title: 'The definition of a workflow', description, ...schema };
}

export type WorkflowDefinition = z.output<typeof workflowDefinition>;
export type WorkflowStep = WorkflowDefinition['steps'][string];
export type StepKind = WorkflowStep['kind'];
export type InputType = z.output<typeof input>['type'];

/** Whether a JSON value is what an input takes. */
export function isOfType(value: unknown, type: InputType): boolean {
  if (type === 'list') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  if (type === 'integer') return Number.isSafeInteger(value);
  return typeof value === type;
}

/** Why a run cannot begin with these values; `isKnown`: whether a value is looked at, and not only that there is one. */
export function inputFaults(
  inputs: WorkflowDefinition['inputs'],
  values: Record<string, unknown>,
  isKnown: (value: unknown) => boolean = () => true,
): FieldProblem[] {
  const unknown = Object.keys(values).filter((each) => !Object.hasOwn(inputs, each));
  return [
    ...unknown.map((each) => ({ path: [each], message: 'the workflow has no such input' })),
    ...Object.entries(inputs).flatMap(([each, { type, default: otherwise }]) => {
      const value = Object.hasOwn(values, each) ? values[each] : undefined;
      if (value === undefined)
        return otherwise === undefined ? [{ path: [each], message: `has to be given: ${type}` }] : [];
      return !isKnown(value) || type === undefined || isOfType(value, type)
        ? []
        : [{ path: [each], message: `must be of the type ${type}` }];
    }),
  ];
}

type Fields = Record<string, unknown>;
const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {});

/** Those of the fields that are as they should be. */
function goodFields(shape: Record<string, z.ZodType>, given: unknown): Fields {
  const fields = fieldsOf(given);
  return Object.fromEntries(
    Object.entries(shape).flatMap(([field, schema]) => {
      const { data } = schema.safeParse(fields[field]);
      return data === undefined ? [] : [[field, data]];
    }),
  );
}

const named = (given: unknown, read: (entry: unknown) => Fields): Record<string, Fields> =>
  Object.fromEntries(
    Object.entries(fieldsOf(given)).flatMap(([key, entry]) =>
      name.safeParse(key).success ? [[key, read(entry)]] : [],
    ),
  );

/** What can be read of a definition that has faults: fields that are wrong are absent, those that have to be there too. */
export function readableDefinition(value: unknown): WorkflowDefinition {
  const given = fieldsOf(value);
  const readStep = (entry: unknown): Fields => {
    const { kind, needs, forEach } = fieldsOf(entry);
    const known = steps.options.find(({ shape }) => shape.kind.value === kind)?.shape ?? common;
    // Its schema has been looked at, which takes its time, and nothing else is about it.
    const shape = { ...known, outputSchema: z.unknown() };
    // Its names may be read, and `item` too, whatever is wrong with how it is said.
    const each = forEach === undefined ? {} : { forEach: '[]' };
    return {
      ...each,
      ...goodFields(shape, entry),
      needs: [needs].flat().filter((needed) => typeof needed === 'string'),
    };
  };
  // Its type is told to be none: nothing is said of what is given for it.
  const readInput = (entry: unknown): Fields => {
    const read = goodFields(input.shape, entry);
    return 'type' in read ? read : { default: null };
  };
  const readTrigger = (entry: unknown): Fields => {
    const { kind, input: values } = fieldsOf(entry);
    const shape = trigger.options.find(({ shape }) => shape.kind.value === kind)?.shape;
    const read = shape ? goodFields(shape, entry) : {};
    return values === undefined || 'input' in read ? read : {};
  };
  return {
    inputs: named(given.inputs, readInput),
    steps: named(given.steps, readStep),
    triggers: Array.isArray(given.triggers) ? given.triggers.slice(0, MAX_TRIGGERS).map(readTrigger) : [],
    concurrency: goodFields(concurrency.shape, given.concurrency),
    output: given.output,
  } as unknown as WorkflowDefinition;
}
