import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';
import {
  type JsonSchema,
  type Message,
  type Model,
  ModelError,
  type Turn,
  type TurnOptions,
  type TurnResult,
} from './model.ts';

export type StructuredAnswer = TurnResult & { value: unknown };

/**
 * An answer that matches a schema. The schema is told in words too, since some servers ignore what a response should look like; an answer
 * that does not match goes back once, with what is wrong. @throws {ModelError} where the second does not match either
 */
export async function answerAs(
  model: Model,
  turn: Turn,
  schema: JsonSchema,
  options: TurnOptions,
): Promise<StructuredAnswer> {
  // One of its own: it keeps whatever it has compiled, and refuses another schema under the same name.
  const ajv = addFormats.default(new Ajv({ strict: false, allErrors: true }));
  const isValid = ajv.compile(schema);
  const order = `Answer with JSON alone, which matches this JSON Schema: ${JSON.stringify(schema)}`;
  const instructions = turn.instructions === null ? order : `${turn.instructions}\n\n${order}`;
  const asked: Turn = { ...turn, instructions, outputSchema: schema };
  const first = await model.takeTurn(asked, options);
  if (first.toolCalls.length > 0) return { ...first, value: null };
  const read = readJson(first.text);
  const problem = problemOf(read);
  if (problem === null) return { ...first, value: read.value };

  const correction: Message[] = [
    { role: 'assistant', text: first.text, toolCalls: [] },
    { role: 'user', text: correctionOf(first, problem) },
  ];
  const second = await model.takeTurn({ ...asked, messages: [...turn.messages, ...correction] }, options);
  const again = readJson(second.text);
  const stillWrong = problemOf(again);
  const usage = {
    inputTokens: first.usage.inputTokens + second.usage.inputTokens,
    outputTokens: first.usage.outputTokens + second.usage.outputTokens,
  };
  if (stillWrong !== null) throw new ModelError(complaintOf(second, stillWrong, turn), { usage });
  return { ...second, usage, value: again.value };

  function problemOf({ value, error }: { value: unknown; error: string | null }): string | null {
    if (error !== null) return error;
    return isValid(value) ? null : ajv.errorsText(isValid.errors, { dataVar: 'the answer' });
  }
}

function correctionOf({ isCut }: TurnResult, problem: string): string {
  if (isCut)
    return `This is not all: it was too long and was cut off (${problem}). Answer again, shorter, with the JSON alone.`;
  return `This does not match the schema: ${problem}. Answer again, with the JSON alone.`;
}

function complaintOf({ isCut }: TurnResult, problem: string, { maxTokens }: Turn): string {
  const limit =
    maxTokens === undefined ? "the model's own limit of tokens (maxTokens is not set)" : `maxTokens (${maxTokens})`;
  return `the model's answer ${isCut ? `was cut off at ${limit} and ` : ''}does not match the schema: ${problem}`;
}

/** Models like to put JSON into a fence. */
function readJson(text: string): { value: unknown; error: string | null } {
  const json = /```(?:json)?\s*\n([\s\S]*?)\n\s*```/.exec(text)?.[1] ?? text;
  try {
    return { value: JSON.parse(json), error: null };
  } catch (error) {
    return { value: null, error: (error as Error).message };
  }
}
