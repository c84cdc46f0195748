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
    { role: 'user', text: `This does not match the schema: ${problem}. Answer again, with the JSON alone.` },
  ];
  const second = await model.takeTurn({ ...asked, messages: [...turn.messages, ...correction] }, options);
  const again = readJson(second.text);
  const stillWrong = problemOf(again);
  if (stillWrong !== null) throw new ModelError(`the model's answer does not match the schema: ${stillWrong}`);
  const usage = {
    inputTokens: first.usage.inputTokens + second.usage.inputTokens,
    outputTokens: first.usage.outputTokens + second.usage.outputTokens,
  };
  return { ...second, usage, value: again.value };

  function problemOf({ value, error }: { value: unknown; error: string | null }): string | null {
    if (error !== null) return error;
    return isValid(value) ? null : ajv.errorsText(isValid.errors, { dataVar: 'the answer' });
  }
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
