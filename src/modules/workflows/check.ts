import { Cron } from 'croner';
import { parseDocument, type YAMLError } from 'yaml';
import type { z } from 'zod';
import { describeEvent } from '../../realtime/event-types.ts';
import type { FieldProblem } from '../../shared/errors.ts';
import { EVENT, ExpressionChecker, type OnFault, PLAIN, placeIn, stepScope, valueAt } from './check-expressions.ts';
import {
  type InputType,
  inputFaults,
  isOfType,
  MAX_DEFINITION_BYTES,
  MAX_STEPS,
  readableDefinition,
  type WorkflowDefinition,
  workflowDefinition,
} from './definition.ts';
import type { ExpressionType, Scope } from './expression.ts';
import { ancestorsOf, cyclesOf, type Needs } from './graph.ts';
import { parseTemplate } from './template.ts';

/** `definition` is null where there are faults. Their paths begin inside the definition. */
export type Checked = { definition: WorkflowDefinition | null; faults: FieldProblem[] };

const TYPES: Record<InputType, ExpressionType> = {
  string: 'string',
  integer: 'int',
  number: 'double',
  boolean: 'bool',
  list: 'list',
  object: 'map',
};
const EXECUTION: Scope = { id: 'string', createdAt: 'string' };
/** Reads a definition from JSON, or from a text of YAML, and finds every fault in it. */
export function checkDefinition(given: unknown): Checked {
  const { value, faults } = typeof given === 'string' ? readYaml(given) : { value: given, faults: [] };
  if (faults.length > 0) return { definition: null, faults };
  if (value === null || value === undefined) return { definition: null, faults: [absent(given)] };
  if (typeof given !== 'string' && JSON.stringify(given).length > MAX_DEFINITION_BYTES)
    return { definition: null, faults: [tooLong()] };
  const parsed = workflowDefinition.safeParse(value);
  const shape = parsed.success ? [] : parsed.error.issues.flatMap((issue) => faultsOf(issue, value));
  const meaning = checkMeaning(parsed.data ?? readableDefinition(value));
  const all = [...shape, ...meaning];
  return { definition: all.length === 0 ? parsed.data! : null, faults: all };
}

function readYaml(text: string): { value: unknown; faults: FieldProblem[] } {
  if (Buffer.byteLength(text) > MAX_DEFINITION_BYTES) return { value: null, faults: [tooLong()] };
  const document = parseDocument(text);
  const faults = document.errors.map((error) => ({ path: [], message: yamlProblem(error) }));
  if (faults.length > 0) return { value: null, faults };
  try {
    return { value: document.toJS(), faults: [] };
  } catch (error) {
    return { value: null, faults: [{ path: [], message: (error as Error).message }] };
  }
}

function yamlProblem({ code, message, linePos }: YAMLError): string {
  if (code === 'MULTIPLE_DOCS') return `has a second document, from line ${linePos?.[0].line} on: give one`;
  return message.split('\n')[0]!.replace(/:$/, '');
}

const absent = (given: unknown): FieldProblem => ({
  path: [],
  message: typeof given === 'string' ? 'is empty: it has "steps" at least' : 'has to be given: JSON, or a text of YAML',
});

const tooLong = (): FieldProblem => ({
  path: [],
  message: `it is longer than ${MAX_DEFINITION_BYTES.toLocaleString('en')} bytes`,
});

function faultsOf(issue: z.core.$ZodIssue, value: unknown): FieldProblem[] {
  const path = issue.path.map(String);
  if (issue.code === 'invalid_union') {
    if (issue.discriminator !== undefined) {
      const given = valueAt(value, path) ?? null;
      const options = 'options' in issue && Array.isArray(issue.options) ? `: one of ${issue.options.join(', ')}` : '';
      return [
        {
          path,
          message:
            given === null ? `has to be given${options}` : `${JSON.stringify(given)} is none that there is${options}`,
        },
      ];
    }
    return [
      {
        path,
        message: issue.errors
          .map(([first]) => first?.message)
          .filter(Boolean)
          .join('; or '),
      },
    ];
  }
  if (issue.code === 'invalid_key') return [{ path, message: issue.issues[0]?.message ?? issue.message }];
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({ path: [...path, key], message: 'there is no such field here' }));
  return [{ path, message: issue.message }];
}

function checkMeaning(definition: WorkflowDefinition): FieldProblem[] {
  // That it has too many steps is told; each of them would be looked at beside all others.
  if (Object.keys(definition.steps).length > MAX_STEPS) return [];
  const faults: FieldProblem[] = [];
  const fault: OnFault = (path, message) => void faults.push({ path, message });
  const names = Object.keys(definition.steps);
  const needs: Needs = new Map(Object.entries(definition.steps).map(([name, step]) => [name, step.needs]));

  for (const [name, step] of Object.entries(definition.steps)) {
    step.needs.forEach((needed, index) => {
      const path = ['steps', name, 'needs', String(index)];
      if (!needs.has(needed)) fault(path, `there is no step ${JSON.stringify(needed)}`);
      else if (step.needs.indexOf(needed) < index) fault(path, `${JSON.stringify(needed)} stands there twice`);
    });
  }
  for (const cycle of cyclesOf(needs))
    fault(['steps', cycle[0]!, 'needs'], `these steps wait for each other: ${[...cycle, cycle[0]].join(' → ')}`);

  const inputs = Object.fromEntries(
    Object.entries(definition.inputs).map(([name, { type }]) => [name, TYPES[type] ?? 'dyn']),
  );
  const checker = new ExpressionChecker(names, fault);
  const common: Scope = { inputs: inputs as Scope, execution: EXECUTION };
  for (const [name, step] of Object.entries(definition.steps)) {
    if (step.kind === 'waitForEvent') checkEvent(step.event, ['steps', name, 'event'], fault);
    checker.checkStep(
      name,
      step,
      common,
      [...ancestorsOf(needs, name)].filter((ancestor) => needs.has(ancestor)),
    );
  }
  checker.checkTexts(definition.output, ['output'], placeIn({ ...common, steps: stepScope(names) }, names));
  const keyPlace = placeIn({ inputs: inputs as Scope }, [], 'a key is made before any step begins, of inputs alone');
  checker.checkTexts(definition.concurrency?.key, ['concurrency', 'key'], keyPlace);
  definition.triggers.forEach((trigger, index) => {
    if (trigger.kind === undefined) return;
    const path = ['triggers', String(index)];
    if (trigger.kind === 'event') checkEvent(trigger.event, [...path, 'event'], fault);
    if (trigger.kind === 'cron') checkSchedule(trigger.schedule, [...path, 'schedule'], fault);
    const place = placeIn(
      trigger.kind === 'event' ? { event: EVENT } : trigger.kind === 'webhook' ? { body: 'dyn' } : {},
      [],
      'a trigger comes before any step begins',
    );
    if (trigger.kind === 'event' && trigger.where !== undefined)
      checker.checkPlain(trigger.where, [...path, 'where'], place, PLAIN.where);
    checker.checkTexts(trigger.input, [...path, 'input'], place);
    for (const { path: at, message } of inputFaults(definition.inputs, trigger.input ?? {}, isConstant))
      fault([...path, 'input', ...at], message);
  });
  const webhooks = definition.triggers.flatMap(({ kind }, index) => (kind === 'webhook' ? [index] : []));
  for (const index of webhooks.slice(1)) fault(['triggers', String(index)], 'a workflow has one webhook at most');
  checkDefaults(definition, fault);
  return faults;
}

/** Absent is what is wrong in the definition's shape: that is told. */
function checkEvent(type: string | undefined, path: string[], fault: OnFault): void {
  if (type !== undefined && describeEvent(type) === null)
    fault(path, `there is no event ${JSON.stringify(type)}: take one of docs/events.md`);
}

function checkSchedule(schedule: string | undefined, path: string[], fault: OnFault): void {
  const problem = schedule === undefined ? null : scheduleProblem(schedule);
  if (problem !== null) fault(path, problem);
}

/** What is wrong with a schedule of cron; null: nothing. */
export function scheduleProblem(schedule: string): string | null {
  if (schedule.trim().split(/\s+/).length !== 5)
    return 'must have five fields: minute, hour, day, month, day of the week';
  try {
    const next = new Cron(schedule, { timezone: 'UTC', paused: true }).nextRun();
    return next === null ? 'never comes round' : null;
  } catch (error) {
    return (error as Error).message.replace(/^CronPattern: /, '');
  }
}

function checkDefaults({ inputs }: WorkflowDefinition, fault: OnFault): void {
  for (const [name, { type, default: value }] of Object.entries(inputs)) {
    if (value !== undefined && type !== undefined && !isOfType(value, type))
      fault(['inputs', name, 'default'], `must be of the type ${type}`);
  }
}

/** Whether a value of a definition is what will be given, and no text with an expression. */
function isConstant(value: unknown): boolean {
  if (typeof value !== 'string') return true;
  try {
    return parseTemplate(value).every((part) => 'text' in part);
  } catch {
    return false;
  }
}
