import type { WorkflowStep } from './definition.ts';
import { ExpressionError, Expressions, type Scope } from './expression.ts';
import { expressionsIn } from './template.ts';

export type OnFault = (path: string[], message: string) => void;

/** What an expression reads of a step that has ended. */
const ENDED_STEP: Scope = { state: 'string', output: 'dyn', error: 'dyn' };
export const EVENT: Scope = { type: 'string', subjectId: 'dyn', occurredAt: 'string', data: 'dyn' };
/** Fields of a step that are expressions as a whole, with the types that they may have. */
export const PLAIN = { if: ['bool'], forEach: ['list'], where: ['bool'] } as const;
/** Its values are taken as they are, or are expressions by themselves. */
const NOT_TEMPLATES = new Set<string>(['kind', 'needs', 'event', 'outputSchema', 'retry', ...Object.keys(PLAIN)]);
const NUMBERS = ['seconds', 'stackVersion'];
/** Characters of an expression that a fault of it shows. */
const MAX_EXCERPT = 80;

/**
 * Where expressions stand: made once for all of them there. `readable`: the steps that have ended by then; `whyNone`: why nothing can be
 * done about the others.
 */
export type Place = { expressions: Expressions; readable: readonly string[]; whyNone: string | undefined };

export function placeIn(scope: Scope, readable: readonly string[] = [], whyNone?: string): Place {
  return { expressions: new Expressions(scope), readable, whyNone };
}

export function stepScope(names: readonly string[]): Scope {
  return Object.fromEntries(names.map((name) => [name, ENDED_STEP]));
}

/** Looks at each expression in the scope that it will be evaluated in. */
export class ExpressionChecker {
  readonly #names: readonly string[];
  readonly #fault: OnFault;

  constructor(names: readonly string[], fault: OnFault) {
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
      this.#fault(at, told(error, String(valueAt(value, at.slice(path.length)))));
    });
    const isNumber = (at: readonly string[]) => at.length === 3 && NUMBERS.includes(at[2]!);
    for (const { path: at, source, isWhole } of placed) {
      if (isNumber(at) && !isWhole) this.#fault(at, 'must be a number: one expression and nothing beside it');
      else this.#check(source, at, place, isNumber(at) ? ['int', 'double'] : null);
    }
    if (typeof value === 'string' && isNumber(path) && isCut && placed.length === 0)
      this.#fault(path, 'must be a number, or an expression in ${{ }}');
  }

  #check(source: string, path: string[], place: Place, types: readonly string[] | null): void {
    const { expressions, readable, whyNone } = place;
    try {
      for (const read of expressions.stepsOf(source)) {
        if (readable.includes(read)) continue;
        if (whyNone !== undefined) throw new ExpressionError(`it reads the step ${read}: ${whyNone}`);
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
      this.#fault(path, told(error, source));
    }
  }
}

/** What is wrong, with the expression, or as much of it as stands around that. */
function told({ message, cause }: ExpressionError, source: string): string {
  const start = (cause as { range?: { start: number } } | undefined)?.range?.start;
  const place = start === undefined ? 'in' : `at character ${start + 1} of`;
  const from = Math.max(0, Math.min((start ?? 0) - MAX_EXCERPT / 2, source.length - MAX_EXCERPT));
  const excerpt = source
    .slice(from, from + MAX_EXCERPT)
    .toWellFormed()
    .replaceAll(/\s+/g, ' ');
  const [before, after] = [from > 0 ? '…' : '', from + MAX_EXCERPT < source.length ? '…' : ''];
  return `${message}, ${place} \`${before}${excerpt}${after}\``;
}

export function valueAt(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | null | undefined)?.[key], value);
}
