import { Cron } from 'croner';
import { parseDocument } from 'yaml';
import type { z } from 'zod';
import { describeEvent } from '../../realtime/event-types.ts';
import type { FieldProblem } from '../../shared/errors.ts';
import {
  type InputType,
  MAX_DEFINITION_BYTES,
  type WorkflowDefinition,
  type WorkflowStep,
  workflowDefinition,
} from './definition.ts';
import { ExpressionError, Expressions, type ExpressionType, type Scope } from './expression.ts';
import { ancestorsOf, cyclesOf, type Needs } from './graph.ts';
import { expressionsIn } from './template.ts';

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
/** What an expression reads of a step that has ended. */
const ENDED_STEP: Scope = { state: 'string', output: 'dyn', error: 'dyn' };
const EVENT: Scope = { type: 'string', subjectId: 'dyn', occurredAt: 'string', data: 'dyn' };
const EXECUTION: Scope = { id: 'string', createdAt: 'string' };
/** Fields of a step that are expressions as a whole, with the types that they may have. */
const PLAIN = { if: ['bool'], forEach: ['list'], where: ['bool'] } as const;
/** Its values are taken as they are, or are expressions by themselves. */
const NOT_TEMPLATES = new Set<string>(['kind', 'needs', 'event', 'outputSchema', 'retry', ...Object.keys(PLAIN)]);
const NUMBERS = ['seconds', 'stackVersion'];

/** Reads a definition from JSON, or from a text of YAML, and finds every fault in it. */
export function checkDefinition(given: unknown): Checked {
  const { value, faults } = typeof given === 'string' ? readYaml(given) : { value: given, faults: [] };
  if (faults.length > 0) return { definition: null, faults };
  if (typeof given !== 'string' && JSON.stringify(given ?? null).length > MAX_DEFINITION_BYTES)
    return { definition: null, faults: [tooLong()] };
  const parsed = workflowDefinition.safeParse(value);
  const shape = parsed.success ? [] : parsed.error.issues.flatMap((issue) => faultsOf(issue, value));
  const meaning = checkMeaning(parsed.data ?? readable(value));
  const all = [...shape, ...meaning];
  return { definition: all.length === 0 ? parsed.data! : null, faults: all };
}

function readYaml(text: string): { value: unknown; faults: FieldProblem[] } {
  if (Buffer.byteLength(text) > MAX_DEFINITION_BYTES) return { value: null, faults: [tooLong()] };
  const document = parseDocument(text);
  const faults = document.errors.map(({ message }) => ({ path: [], message: message.split('\n')[0]! }));
  if (faults.length > 0) return { value: null, faults };
  try {
    return { value: document.toJS(), faults: [] };
  } catch (error) {
    return { value: null, faults: [{ path: [], message: (error as Error).message }] };
  }
}

const tooLong = (): FieldProblem => ({
  path: [],
  message: `it is longer than ${MAX_DEFINITION_BYTES.toLocaleString('en')} bytes`,
});

function faultsOf(issue: z.core.$ZodIssue, value: unknown): FieldProblem[] {
  const path = issue.path.map(String);
  if (issue.code === 'invalid_union') {
    if (issue.discriminator !== undefined) {
      const given = at(value, path) ?? null;
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

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | null | undefined)?.[key], value);
}

/** What can be read of a definition that has faults: its good steps and inputs are looked at all the same. */
function readable(value: unknown): WorkflowDefinition {
  const given = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const part = (field: 'inputs' | 'steps') => {
    const entries = typeof given[field] === 'object' && given[field] !== null ? Object.entries(given[field]) : [];
    return Object.fromEntries(
      entries.flatMap(([name, entry]) => {
        const alone = workflowDefinition.shape[field].safeParse({ [name]: entry });
        return alone.success ? Object.entries(alone.data) : [];
      }),
    );
  };
  const alone = (field: 'triggers' | 'concurrency') => workflowDefinition.shape[field].safeParse(given[field]).data;
  return {
    inputs: part('inputs'),
    steps: part('steps'),
    triggers: alone('triggers') ?? [],
    concurrency: alone('concurrency'),
    output: given.output,
  } as WorkflowDefinition;
}

function checkMeaning(definition: WorkflowDefinition): FieldProblem[] {
  const faults: FieldProblem[] = [];
  const fault = (path: string[], message: string) => void faults.push({ path, message });
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

  const inputs = Object.fromEntries(Object.entries(definition.inputs).map(([name, { type }]) => [name, TYPES[type]]));
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
  checker.checkTexts(definition.concurrency?.key, ['concurrency', 'key'], placeIn(common));
  definition.triggers.forEach((trigger, index) => {
    const path = ['triggers', String(index)];
    if (trigger.kind === 'event') checkEvent(trigger.event, [...path, 'event'], fault);
    if (trigger.kind === 'cron') checkSchedule(trigger.schedule, [...path, 'schedule'], fault);
    const place = placeIn(
      trigger.kind === 'event' ? { event: EVENT } : trigger.kind === 'webhook' ? { body: 'dyn' } : {},
    );
    if (trigger.kind === 'event' && trigger.where !== undefined)
      checker.checkPlain(trigger.where, [...path, 'where'], place, PLAIN.where);
    checker.checkTexts(trigger.input, [...path, 'input'], place);
  });
  const webhooks = definition.triggers.flatMap(({ kind }, index) => (kind === 'webhook' ? [index] : []));
  for (const index of webhooks.slice(1)) fault(['triggers', String(index)], 'a workflow has one webhook at most');
  checkDefaults(definition, fault);
  return faults;
}

/** Where expressions stand: made once for all of them there. `readable`: the steps that have ended by then. */
type Place = { expressions: Expressions; readable: readonly string[] };

function placeIn(scope: Scope, readable: readonly string[] = []): Place {
  return { expressions: new Expressions(scope), readable };
}

function stepScope(names: readonly string[]): Scope {
  return Object.fromEntries(names.map((name) => [name, ENDED_STEP]));
}

function checkEvent(type: string, path: string[], fault: (path: string[], message: string) => void): void {
  if (describeEvent(type) === null)
    fault(path, `there is no event ${JSON.stringify(type)}: take one of docs/events.md`);
}

function checkSchedule(schedule: string, path: string[], fault: (path: string[], message: string) => void): void {
  const problem = scheduleProblem(schedule);
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

function checkDefaults({ inputs }: WorkflowDefinition, fault: (path: string[], message: string) => void): void {
  for (const [name, { type, default: value }] of Object.entries(inputs)) {
    if (value !== undefined && !isOfType(value, type))
      fault(['inputs', name, 'default'], `must be of the type ${type}`);
  }
}

/** Whether a JSON value is what an input takes. */
export function isOfType(value: unknown, type: InputType): boolean {
  if (type === 'list') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  if (type === 'integer') return Number.isSafeInteger(value);
  return typeof value === type;
}

/** Looks at each expression in the scope that it will be evaluated in. */
class ExpressionChecker {
  readonly #names: readonly string[];
  readonly #fault: (path: string[], message: string) => void;

  constructor(names: readonly string[], fault: (path: string[], message: string) => void) {
    this.#names = names;
    this.#fault = fault;
  }

  checkStep(name: string, step: WorkflowStep, common: Scope, ancestors: readonly string[]): void {
    const path = ['steps', name];
    const scope: Scope = { ...common, steps: stepScope(ancestors) };
    const eachScope: Scope = step.forEach === undefined ? scope : { ...scope, item: 'dyn', index: 'int' };
    const once = placeIn(scope, ancestors);
    const each = step.forEach === undefined ? once : placeIn(eachScope, ancestors);
    if (step.if !== undefined) this.checkPlain(step.if, [...path, 'if'], once, PLAIN.if);
    if (step.forEach !== undefined) this.checkPlain(step.forEach, [...path, 'forEach'], once, PLAIN.forEach);
    if (step.kind === 'waitForEvent' && step.where !== undefined) {
      const place = placeIn({ ...eachScope, event: EVENT }, ancestors);
      this.checkPlain(step.where, [...path, 'where'], place, PLAIN.where);
    }
    for (const [field, value] of Object.entries(step))
      if (!NOT_TEMPLATES.has(field)) this.checkTexts(value, [...path, field], each);
  }

  /** A field that is an expression as a whole. */
  checkPlain(source: string, path: string[], place: Place, types: readonly string[]): void {
    if (source.includes('${{')) this.#fault(path, 'is an expression by itself: leave out ${{ }}');
    else this.#check(source, path, place, types);
  }

  /** Texts with expressions in them, however deep. */
  checkTexts(value: unknown, path: string[], place: Place): void {
    let isCut = true;
    const placed = expressionsIn(value, path, (at, error) => {
      isCut = false;
      this.#fault(at, error.message);
    });
    const isNumber = (at: readonly string[]) => at.length === 3 && NUMBERS.includes(at[2]!);
    for (const { path: at, source, isWhole } of placed) {
      if (isNumber(at) && !isWhole) this.#fault(at, 'must be a number: one expression and nothing beside it');
      else this.#check(source, at, place, isNumber(at) ? ['int', 'double'] : null);
    }
    if (typeof value === 'string' && isNumber(path) && isCut && placed.length === 0)
      this.#fault(path, 'must be a number, or an expression in ${{ }}');
  }

  #check(source: string, path: string[], { expressions, readable }: Place, types: readonly string[] | null): void {
    try {
      for (const read of expressions.stepsOf(source)) {
        if (readable.includes(read)) continue;
        const isThere = this.#names.includes(read);
        throw new ExpressionError(
          isThere
            ? `it reads the step ${read}, which may not have ended by then: put that into "needs"`
            : `there is no step ${JSON.stringify(read)}`,
        );
      }
      const type = expressions.typeOf(source);
      const isFitting =
        types === null || type === 'dyn' || types.some((wanted) => type === wanted || type.startsWith(`${wanted}<`));
      if (!isFitting) throw new ExpressionError(`must be of the type ${types.join(' or ')}, is ${type}`);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      this.#fault(path, error.message);
    }
  }
}
