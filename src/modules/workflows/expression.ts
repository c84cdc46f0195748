import { createContext, Script } from 'node:vm';
import { Environment, type ParseResult } from '@marcbachmann/cel-js';
import type { TimeBudget } from '../executions/time-budget.ts';

/** How long an expression may be, in characters. */
export const MAX_EXPRESSION_LENGTH = 4_000;
const LIMITS = { maxAstNodes: 500, maxDepth: 50, maxListElements: 200, maxMapEntries: 200, maxCallArguments: 16 };

/** What an expression is about: its names with their types. Anything in them of the type "dyn" is as it comes. */
export type Scope = { [name: string]: ExpressionType | Scope };
export type ExpressionType = 'string' | 'int' | 'double' | 'bool' | 'list' | 'map' | 'dyn';

/** What is wrong with an expression, or went wrong with it. The message is for users. */
export class ExpressionError extends Error {
  override name = 'ExpressionError';
}

/** It, or what was evaluated before it, took longer than there was time for. */
export class OutOfTimeError extends ExpressionError {
  constructor({ limitMs }: TimeBudget) {
    const limit = Math.max(1, Math.floor(limitMs));
    super(`expressions take longer than ${limit} ms together: let them look at less`);
  }
}

/** Expressions of the Common Expression Language in one scope: no loops, no side effects, no access to anything but what they are given. */
export class Expressions {
  readonly #environment: Environment;

  constructor(scope: Scope) {
    this.#environment = new Environment({
      limits: LIMITS,
      homogeneousAggregateLiterals: false,
      enableOptionalTypes: true,
    });
    for (const [name, type] of Object.entries(scope)) {
      if (typeof type === 'string') this.#environment.registerVariable(name, type);
      else this.#environment.registerVariable({ name, schema: type });
    }
  }

  /** Its type, "dyn" where that depends on what it is given. @throws {ExpressionError} for what can never be evaluated */
  typeOf(source: string): string {
    const { valid, type, error } = this.#parse(source).check();
    if (!valid) throw problem(error);
    return type ?? 'dyn';
  }

  /** Its value as JSON. @throws {ExpressionError} */
  evaluate(source: string, values: Record<string, unknown>, budget: TimeBudget): unknown {
    return budget.spend(() => {
      if (budget.leftMs === 0) throw new OutOfTimeError(budget);
      const expression = this.#parse(source);
      const isGuarded = !isQuick(expression.ast);
      const evaluate = () => toJson(expression(given(values)));
      try {
        return isGuarded ? withinTime(evaluate, budget) : evaluate();
      } catch (error) {
        throw problem(error);
      }
    });
  }

  /** The names of the steps that it reads, as in `steps.build.output`. */
  stepsOf(source: string): string[] {
    const names = new Set<string>();
    visit(this.#parse(source).ast, names);
    return [...names];
  }

  #parse(source: string): ParseResult {
    if (source.length > MAX_EXPRESSION_LENGTH)
      throw new ExpressionError(`it is longer than ${MAX_EXPRESSION_LENGTH.toLocaleString('en')} characters`);
    try {
      return this.#environment.parse(source);
    } catch (error) {
      throw problem(error);
    }
  }
}

const GUARDED = new Script('evaluate()');
const guard = createContext({ evaluate: null as (() => unknown) | null });

/** Lists in lists in lists, or a pattern that goes back and forth, would hold up everybody. */
function withinTime(evaluate: () => unknown, budget: TimeBudget): unknown {
  guard.evaluate = evaluate;
  try {
    return GUARDED.runInContext(guard, { timeout: Math.max(1, Math.ceil(budget.leftMs)) });
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw new OutOfTimeError(budget);
    throw error;
  } finally {
    guard.evaluate = null;
  }
}

/** Names, and names compared with what is written out, take no time to speak of: watching over them would take longer than they do. */
function isQuick(node: unknown): boolean {
  const { op, args } = node as Node;
  if (op === 'id' || op === 'value') return true;
  if (op === '!_') return isQuick(args);
  if (op !== '.' && op !== '[]' && op !== '&&' && op !== '||' && !COMPARISONS.has(op)) return false;
  const [one, other] = args as [Node, Node];
  if (op === '.') return isQuick(one);
  if (op === '[]' || COMPARISONS.has(op)) return other.op === 'value' && isQuick(one);
  return isQuick(one) && isQuick(other);
}

const COMPARISONS = new Set(['==', '!=', '<', '<=', '>', '>=']);

function problem(error: unknown): ExpressionError {
  if (error instanceof ExpressionError) return error;
  const { summary, message } = error as { summary?: string; message?: string };
  return new ExpressionError(summary ?? message ?? String(error), { cause: error });
}

/** What one expression was given, many others are. */
const known = new WeakMap<object, unknown>();

function given(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      if (typeof value !== 'object' || value === null) return [name, toExpression(value)];
      if (!known.has(value)) known.set(value, toExpression(value));
      return [name, known.get(value)];
    }),
  );
}

/**
 * Whole numbers of JSON are integers, others, and those that are wrapped, floating-point numbers: the language does not mix them in
 * arithmetic.
 */
function toExpression(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (value instanceof Number) return value.valueOf();
  if (Array.isArray(value)) return value.map(toExpression);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, toExpression(entry)]));
}

function toJson(value: unknown): unknown {
  if (typeof value === 'bigint') {
    if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER)
      throw new ExpressionError(`${value} is beyond what JSON numbers hold exactly`);
    return Number(value);
  }
  if (typeof value === 'number' && !Number.isFinite(value)) throw new ExpressionError(`JSON has no ${value}`);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(toJson);
  if (value instanceof Map) return Object.fromEntries([...value].map(([name, entry]) => [String(name), toJson(entry)]));
  if (typeof value === 'object' && value !== null) {
    if (!isPlain(value))
      throw new ExpressionError('its value is none of JSON: a string, number, boolean, null, list or map');
    return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, toJson(entry)]));
  }
  return value === undefined ? null : value;
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

type Node = { op: string; args: unknown };

function visit(node: unknown, names: Set<string>): void {
  if (Array.isArray(node)) {
    for (const part of node) visit(part, names);
    return;
  }
  if (typeof node !== 'object' || node === null || !('op' in node)) return;
  const { op, args } = node as Node;
  if (Array.isArray(args)) {
    const [owner, key] = args as [Node, unknown];
    if (owner?.op === 'id' && owner.args === 'steps') {
      if (op === '.' || op === '.?') names.add(String(key));
      const index = key as Node;
      if ((op === '[]' || op === '[?]') && index.op === 'value' && typeof index.args === 'string')
        names.add(index.args);
    }
  }
  visit(args, names);
}
