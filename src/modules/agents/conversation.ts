import type { Pool } from 'pg';
import type { Message, ToolCall } from '../../models/model.ts';
import type { StepRow } from '../executions/procedure.ts';

/** How many executions a conversation goes back. */
export const MAX_CONVERSATION = 50;

/** What a turn came to. `value`: where its answer had to match a schema; `isCut`: where it ended at the tokens that it might have. */
export type TurnOutput = { text: string; toolCalls: ToolCall[]; value?: unknown; isCut?: true };

type Spoken = Pick<StepRow, 'key' | 'kind' | 'state' | 'output' | 'error'>;

/** What was said in an execution so far: what it was given, each turn, and what the tools answered. */
export function messagesOf(input: unknown, steps: readonly Spoken[]): Message[] {
  const byKey = new Map(steps.map((step) => [step.key, step]));
  const turns = steps.filter(({ kind, state }) => kind === 'turn' && state === 'SUCCEEDED');
  const said = turns.flatMap(({ key, output }): Message[] => {
    const { text, toolCalls } = output as TurnOutput;
    const answers = toolCalls.map(({ id, name }, index): Message => {
      const step = byKey.get(`${key}.call${index + 1}`);
      return { role: 'tool', callId: id, toolName: name, output: answerOf(step) };
    });
    return [{ role: 'assistant', text, toolCalls }, ...answers];
  });
  return [{ role: 'user', text: String(input) }, ...said];
}

/** A model is told of a failure as of any other answer. */
function answerOf(step: Spoken | undefined): unknown {
  if (step?.state === 'SUCCEEDED') return step.output;
  return { error: step?.error ?? 'it was not carried out' };
}

/** What was said up to the end of an execution, and in those that it went on with, the oldest first. */
export async function conversationBefore(pool: Pool, executionId: string): Promise<Message[]> {
  const { rows } = await pool.query<{ input: unknown; steps: Spoken[] }>(
    `with recursive said as (
       select id, continues_id, input, 1 as back from executions where id = $1
       union all
       select e.id, e.continues_id, e.input, said.back + 1 from executions e join said on e.id = said.continues_id where said.back < $2
     )
     select input, coalesce((select jsonb_agg(jsonb_build_object('key', s.key, 'kind', s.kind, 'state', s.state, 'output', s.output, 'error', s.error)
                                              order by s.position)
                             from execution_steps s where s.execution_id = said.id), '[]') as steps
     from said order by back desc`,
    [executionId, MAX_CONVERSATION],
  );
  return rows.flatMap(({ input, steps }) => messagesOf(input, steps));
}
