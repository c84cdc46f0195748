import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import {
  APICallError,
  jsonSchema,
  type ModelMessage,
  Output,
  StreamProviderError,
  streamText,
  type ToolSet,
  tool,
} from 'ai';
import {
  type Mask,
  type Message,
  type Model,
  ModelError,
  type ToolCall,
  type ToolDeclaration,
  type TurnResult,
} from './model.ts';

export type Endpoint = {
  /** "https://openrouter.ai/api/v1" */
  baseUrl: string;
  apiKey: string | null;
  /** As the provider has it. */
  model: string;
  /** Takes the key out of what errors quote. */
  mask: Mask;
};

/** How much of a server's own words an error quotes. */
const QUOTED_CHARACTERS = 300;
/** A server that says nothing for so long is given up. */
export const SILENCE_TIMEOUT_MS = 120_000;
const OUTAGE = { isTransient: true, isOutage: true };

/** A model behind any server that speaks OpenAI's chat completions: OpenRouter, Ollama, vLLM, llama.cpp. */
export function openAiCompatibleModel(endpoint: Endpoint, silenceMs = SILENCE_TIMEOUT_MS): Model {
  const { baseUrl, apiKey, model, mask } = endpoint;
  const quoted: Quote = (text) => excerpt(apiKey === null ? text : mask(text, apiKey));
  const provider = createOpenAICompatible({
    name: 'model',
    baseURL: baseUrl,
    includeUsage: true,
    supportsStructuredOutputs: true,
    ...(apiKey !== null && { apiKey }),
  });
  return {
    async takeTurn(turn, { signal, onText }) {
      const silence = watchSilence(silenceMs);
      const { stream } = streamText({
        model: provider(model),
        ...(turn.instructions !== null && { instructions: turn.instructions }),
        messages: turn.messages.map(messageOf),
        tools: Object.fromEntries(turn.tools.map((declared) => [toolName(declared.name), toolOf(declared)])),
        temperature: turn.temperature,
        maxOutputTokens: turn.maxTokens,
        ...(turn.outputSchema && { output: Output.object({ schema: jsonSchema(turn.outputSchema) }) }),
        // Whoever runs the turn repeats it, and records that.
        maxRetries: 0,
        abortSignal: AbortSignal.any([signal, silence.signal]),
        onError: () => undefined,
      });
      const names = new Map(turn.tools.map(({ name }) => [toolName(name), name]));
      const result: TurnResult = { text: '', toolCalls: [], usage: { inputTokens: 0, outputTokens: 0 } };
      try {
        let isFinished = false;
        for await (const part of stream) {
          silence.heard();
          if (part.type === 'text-delta') {
            result.text += part.text;
            await onText(part.text);
            silence.heard();
          } else if (part.type === 'tool-call') result.toolCalls.push(callOf(part, names));
          else if (part.type === 'error') throw part.error;
          else if (part.type === 'finish') {
            isFinished = part.finishReason !== 'error';
            if (part.finishReason === 'length') result.isCut = true;
            const { inputTokens = 0, outputTokens = 0 } = part.totalUsage;
            result.usage = { inputTokens, outputTokens };
          }
        }
        signal.throwIfAborted();
        if (silence.signal.aborted) throw silence.signal.reason;
        if (!isFinished) throw new ModelError('the model broke off its answer', OUTAGE);
        return result;
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw modelErrorOf(silence.signal.aborted ? silence.signal.reason : error, quoted);
      } finally {
        silence.end();
      }
    },
  };
}

/** Aborts once nothing was heard for so long. */
function watchSilence(silenceMs: number) {
  const controller = new AbortController();
  const seconds = silenceMs / 1_000;
  const giveUp = () => controller.abort(new ModelError(`the model said nothing for ${seconds} s`, OUTAGE));
  const timer = setTimeout(giveUp, silenceMs);
  return { signal: controller.signal, heard: () => void timer.refresh(), end: () => clearTimeout(timer) };
}

/** Servers take letters, digits, "_" and "-" only. */
function toolName(name: string): string {
  return name.replaceAll('.', '_');
}

function toolOf({ description, inputSchema }: ToolDeclaration): ToolSet[string] {
  return tool({ description, inputSchema: jsonSchema(inputSchema) });
}

function callOf(
  {
    toolCallId,
    toolName: name,
    input,
    ...part
  }: { toolCallId: string; toolName: string; input: unknown; error?: unknown },
  names: ReadonlyMap<string, string>,
): ToolCall {
  // Unreadable arguments go back to the model as they are: the tool's own check tells it what is wrong.
  const given = part.error !== undefined && typeof input !== 'object' ? { unreadable: String(input) } : input;
  return { id: toolCallId, name: names.get(name) ?? name, input: given };
}

function messageOf(message: Message): ModelMessage {
  if (message.role === 'user') return { role: 'user', content: message.text };
  if (message.role === 'tool') {
    const { callId, output } = message;
    const value = output as never;
    const result = { type: 'tool-result' as const, toolCallId: callId, toolName: toolName(message.toolName) };
    return { role: 'tool', content: [{ ...result, output: { type: 'json', value } }] };
  }
  const calls = message.toolCalls.map(({ id, name, input }) => ({
    type: 'tool-call' as const,
    toolCallId: id,
    toolName: toolName(name),
    input,
  }));
  const text = message.text === '' ? [] : [{ type: 'text' as const, text: message.text }];
  return { role: 'assistant', content: [...text, ...calls] };
}

/** What a server said, as an error may show it. */
type Quote = (text: string) => string;

function modelErrorOf(error: unknown, quoted: Quote): ModelError {
  if (error instanceof ModelError) return error;
  if (APICallError.isInstance(error)) return answeredError(error, quoted);
  // An answer that had begun.
  if (StreamProviderError.isInstance(error)) return refusal(error.statusCode ?? null, quoted(error.message), error);
  const { message } = error instanceof Error ? error : { message: String(error) };
  // Whatever else: a connection that broke, or an answer that is no stream of completions.
  return new ModelError(`the model's answer could not be read: ${quoted(message)}`, { ...OUTAGE, cause: error });
}

function answeredError(error: APICallError, quoted: Quote): ModelError {
  const { statusCode: status, responseBody, message } = error;
  if (status === undefined)
    return new ModelError(`the model's server cannot be reached: ${quoted(message)}`, { ...OUTAGE, cause: error });
  const words = quoted(wordsOf(responseBody) ?? message);
  if (status >= 200 && status < 300)
    return new ModelError(`the model's answer could not be read: ${words}`, { ...OUTAGE, cause: error });
  return refusal(status, words, error, retryAfter(error.responseHeaders));
}

/** `status` null: it did not say one. */
function refusal(status: number | null, words: string, cause: Error, retryAfterMs: number | null = null): ModelError {
  if (status === null)
    return new ModelError(`the model's server broke off its answer: ${words}`, { isTransient: true, cause });
  if (status === 401 || status === 403)
    return new ModelError(`the model's server refuses the key (${status}): ${words}`, { cause });
  if (status === 404) return new ModelError(`the model's server has no such model or path: ${words}`, { cause });
  // The others are about whoever's key it is, or about what was asked.
  const isOutage = status >= 500 || status === 408 || status === 425;
  const isTransient = isOutage || status === 409 || status === 429;
  return new ModelError(`the model's server answered ${status}: ${words}`, {
    ...{ isTransient, isOutage, retryAfterMs, cause },
  });
}

function wordsOf(body: string | undefined): string | null {
  if (body === undefined) return null;
  try {
    const { error, message } = JSON.parse(body) as { error?: { message?: unknown } | string; message?: unknown };
    const said = typeof error === 'string' ? error : (error?.message ?? message);
    return typeof said === 'string' ? said : null;
  } catch {
    return null;
  }
}

function excerpt(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > QUOTED_CHARACTERS ? `${line.slice(0, QUOTED_CHARACTERS)} …` : line;
}

/** Of a "Retry-After" in seconds or as a date. */
function retryAfter(headers: Record<string, string> | undefined): number | null {
  const value = headers?.['retry-after'];
  if (value === undefined) return null;
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : null;
}
