import type { Pool } from 'pg';
import { type Message, type Model, ModelError, type ToolCall, type Turn, type TurnResult } from '../../models/model.ts';
import { answerAs } from '../../models/structured-answer.ts';
import { DAY_MS } from '../../shared/clock.ts';
import {
  type Approval,
  type ExecutionRow,
  type Next,
  type Procedure,
  StepFailure,
  type StepOrder,
  type StepRow,
  type StepWork,
} from '../executions/procedure.ts';
import { isOver } from '../executions/state.ts';
import { ACTING_TOOLS, type AgentConfiguration } from './configuration.ts';
import { conversationBefore, messagesOf, type TurnOutput } from './conversation.ts';
import type { ToolBox } from './tools.ts';

/** Whoever may decide has so long. */
export const APPROVAL_PATIENCE_DAYS = 30;
const APPROVAL_ROLE = 'DEVELOPER';

/** An agent as it was when its execution began. */
export type AgentDefinition = {
  name: string;
  model: string;
  systemPrompt: string | null;
  configuration: AgentConfiguration;
};
/** What a step that calls a tool works with. */
export type CallInput = { tool: string; callId: string; arguments: unknown };

export type AgentProcedureDependencies = {
  pool: Pool;
  tools: ToolBox;
  /** The model of an execution's agent, with the agent's key. @throws {StepFailure} where it cannot be used any more */
  modelOf(execution: ExecutionRow, definition: AgentDefinition): Promise<Model>;
  /** @throws {StepFailure} where the organization has used up what it may */
  requireBudget(organizationId: string): Promise<void>;
};

/**
 * A model is asked for a turn; what it wants of tools is done, each call a step; then it is asked again, until it wants none. Calls of
 * tools that act wait for an approval first.
 */
export function createAgentProcedure(deps: AgentProcedureDependencies): Procedure {
  return {
    timeoutSecondsOf: (definition) => (definition as AgentDefinition).configuration.timeoutSeconds,
    next: nextOfAgent,
    retryOf({ definition }, { kind }) {
      // A model that is told of a failed call decides by itself whether to repeat it.
      return kind === 'turn' ? configurationOf(definition).retry : { attempts: 1, delaySeconds: 0, factor: 1 };
    },
    repeatedFrom(_definition, steps, from) {
      const first = steps.find(({ key, state }) => (from === null ? state !== 'SUCCEEDED' : key === from));
      return new Set(steps.filter(({ position }) => first && position >= first.position).map(({ key }) => key));
    },
    async perform(work) {
      if (work.step.kind === 'turn') return takeTurn(deps, work);
      const call = work.step.input as CallInput;
      return { output: await deps.tools.call(call.tool, call.arguments, work) };
    },
  };
}

/** See `Procedure.next`. */
export function nextOfAgent({ definition, now }: ExecutionRow, steps: readonly StepRow[]): Next {
  const turns = steps.filter(({ kind }) => kind === 'turn');
  const last = turns.at(-1);
  if (!last) return { orders: [turnOrder(1, [])] };
  if (last.state === 'FAILED')
    return { orders: [], conclusion: { status: 'FAILED', reason: `${last.key}: ${last.error}` } };
  if (!isOver(last.state)) return { orders: [] };
  const configuration = configurationOf(definition);
  const { text, value, toolCalls } = last.output as TurnOutput;
  if (toolCalls.length === 0)
    return { orders: [], conclusion: { status: 'COMPLETED', output: configuration.outputSchema ? value : text } };
  const calls = toolCalls.map((call, index) => ({ call, key: `${last.key}.call${index + 1}` }));
  const byKey = new Map(steps.map((step) => [step.key, step]));
  const orders = calls.flatMap(
    ({ call, key }) => callOrder(call, key, last.key, byKey.get(key), configuration, now) ?? [],
  );
  if (orders.length > 0 || calls.some(({ key }) => !isOver(byKey.get(key)!.state))) return { orders };
  if (turns.length >= configuration.maxTurns) {
    const reason = `it did not come to an end within ${configuration.maxTurns} turns (configuration.maxTurns)`;
    return { orders: [], conclusion: { status: 'FAILED', reason } };
  }
  return {
    orders: [
      turnOrder(
        turns.length + 1,
        calls.map(({ key }) => key),
      ),
    ],
  };
}

const configurationOf = (definition: unknown): AgentConfiguration => (definition as AgentDefinition).configuration;

function turnOrder(number: number, dependsOn: string[]): StepOrder {
  return { key: `turn${number}`, kind: 'turn', dependsOn, state: 'RUNNING' };
}

/** What becomes of a call now; null: nothing. */
function callOrder(
  { id, name, input }: ToolCall,
  key: string,
  turn: string,
  step: StepRow | undefined,
  { tools, withoutApproval }: AgentConfiguration,
  now: number,
): StepOrder | null {
  const common = { key, kind: 'tool', dependsOn: [turn] };
  if (!step) {
    const call: CallInput = { tool: name, callId: id, arguments: input };
    // Nobody is asked about a tool that it has not: calling it tells the model so.
    const acts = ACTING_TOOLS.some((tool) => tool === name && tools.includes(tool));
    if (!acts || (withoutApproval as readonly string[]).includes(name))
      return { ...common, input: call, state: 'RUNNING' };
    const approval: Approval = { message: `${name} ${JSON.stringify(input)}`, role: APPROVAL_ROLE };
    const wakeAt = new Date(now + APPROVAL_PATIENCE_DAYS * DAY_MS);
    return { ...common, input: call, state: 'WAITING', approval, wakeAt };
  }
  if (step.state !== 'WAITING') return null;
  const decision = step.approval?.decision;
  if (decision?.approved) return { ...common, state: 'RUNNING' };
  if (decision) {
    const comment = decision.comment ? `: ${decision.comment}` : '';
    return { ...common, state: 'FAILED', error: `a person did not approve it${comment}` };
  }
  const late = `nobody decided about it within ${APPROVAL_PATIENCE_DAYS} days`;
  return step.isDue ? { ...common, state: 'FAILED', error: late } : null;
}

async function takeTurn({ pool, tools, modelOf, requireBudget }: AgentProcedureDependencies, work: StepWork) {
  const { execution, steps, signal, write } = work;
  const definition = execution.definition as AgentDefinition;
  const { temperature, maxTokens, tools: names, outputSchema } = definition.configuration;
  await requireBudget(execution.organizationId);
  const model = await modelOf(execution, definition);
  const before: Message[] = execution.continuesId ? await conversationBefore(pool, execution.continuesId) : [];
  const turn: Turn = {
    instructions: definition.systemPrompt,
    messages: [...before, ...messagesOf(execution.input, steps)],
    tools: tools.declarations(names),
    temperature,
    maxTokens,
  };
  try {
    const answer: TurnResult & { value?: unknown } = outputSchema
      ? await answerAs(model, turn, outputSchema, { signal, onText: write })
      : await model.takeTurn(turn, { signal, onText: write });
    const output: TurnOutput = { text: answer.text, toolCalls: answer.toolCalls };
    if ('value' in answer) output.value = answer.value;
    if (answer.isCut) output.isCut = true;
    return { output, usage: answer.usage };
  } catch (error) {
    if (error instanceof ModelError && !signal.aborted) throw new StepFailure(error.message, error);
    throw error;
  }
}
