import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ModelServer } from '../../test/support/model-server.ts';
import { createMasker } from '../realtime/masking.ts';
import { type Mask, type Model, ModelError, type Turn } from './model.ts';
import { openAiCompatibleModel } from './openai-compatible.ts';
import { answerAs } from './structured-answer.ts';

const TURN: Turn = { instructions: 'Be kind.', messages: [{ role: 'user', text: 'hi' }], tools: [] };
const never = () => new AbortController().signal;
const quiet = () => ({ signal: never(), onText: () => undefined });
const mask: Mask = (text, secret) => createMasker([secret]).maskText(text);

let server: ModelServer;
let model: Model;
beforeEach(async () => {
  server = await ModelServer.start();
  model = openAiCompatibleModel({ baseUrl: server.url, apiKey: 'the-key', model: 'acme/large', mask });
});
afterEach(() => server[Symbol.asyncDispose]());

const failure = async (answer: Promise<unknown>): Promise<ModelError> => {
  const error = await answer.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ModelError);
  return error as ModelError;
};

describe('a model behind a server that speaks OpenAI’s protocol', () => {
  it('should be told all of the turn, and stream its answer', async () => {
    server.answers = [{ text: 'hello dear world' }];
    const heard: string[] = [];
    const result = await model.takeTurn(
      { ...TURN, temperature: 0.5, maxTokens: 99 },
      { signal: never(), onText: (text) => heard.push(text) },
    );
    expect(result).toEqual({ text: 'hello dear world', toolCalls: [], usage: { inputTokens: 11, outputTokens: 7 } });
    expect(heard).toEqual(['hello', ' dear', ' world']);
    const [{ body, headers }] = server.requests as [(typeof server.requests)[0]];
    expect(body).toMatchObject({ model: 'acme/large', temperature: 0.5, max_tokens: 99, stream: true });
    expect(body.messages).toMatchObject([
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'hi' },
    ]);
    expect(headers.authorization).toBe('Bearer the-key');
  });

  it('should ask for tools under names that servers take, and be told what came of them', async () => {
    server.answers = [
      { text: 'let me look', toolCalls: [{ name: 'logs_search', arguments: '{"text":"boom"}' }] },
      { text: 'done' },
    ];
    const inputSchema = { type: 'object', properties: { text: { type: 'string' } } };
    const turn = { ...TURN, tools: [{ name: 'logs.search', description: 'Searches.', inputSchema }] };
    const asked = await model.takeTurn(turn, quiet());
    expect(asked.toolCalls).toEqual([{ id: expect.any(String), name: 'logs.search', input: { text: 'boom' } }]);
    const [call] = asked.toolCalls;
    const next = await model.takeTurn(
      {
        ...turn,
        messages: [
          ...turn.messages,
          { role: 'assistant', text: asked.text, toolCalls: asked.toolCalls },
          { role: 'tool', callId: call!.id, toolName: 'logs.search', output: { lines: 3 } },
        ],
      },
      quiet(),
    );
    expect(next.text).toBe('done');
    expect(server.requests[0]!.body.tools![0]!.function).toMatchObject({
      name: 'logs_search',
      parameters: inputSchema,
    });
    expect(server.requests[1]!.body.messages.slice(2)).toMatchObject([
      { role: 'assistant', tool_calls: [{ id: call!.id, function: { name: 'logs_search' } }] },
      { role: 'tool', tool_call_id: call!.id, content: '{"lines":3}' },
    ]);
  });

  it.each([
    ['too many requests', { status: 429, retryAfter: '7', message: 'slow down' }, true, /answered 429: slow down/],
    ['a fault of the server', { status: 500, message: 'oops' }, true, /answered 500: oops/],
    ['a bad request', { status: 400, message: 'no such field' }, false, /answered 400: no such field/],
    ['a wrong key', { status: 401, message: 'bad key' }, false, /refuses the key \(401\): bad key/],
    ['an unknown model', { status: 404, message: 'no acme/large' }, false, /no such model or path: no acme/],
    ['a stream that breaks', { breaksAfter: 'hello dear' }, true, /could not be read|broke off/],
    ['an answer that is none', { malformed: 'data: {"choices": [}\n\n' }, true, /could not be read/],
    ['an answer that is empty', { malformed: '' }, true, /could not be read|broke off/],
  ])('should say what went wrong: %s', async (_, answer, isTransient, message) => {
    server.answers = [answer];
    const error = await failure(model.takeTurn(TURN, quiet()));
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('the-key');
    expect(error).toMatchObject({ isTransient, retryAfterMs: 'retryAfter' in answer ? 7_000 : null });
    expect(server.requests).toHaveLength(1);
  });

  it.each([
    ['as it is', (key: string) => key],
    ['percent-encoded', encodeURIComponent],
    ['as JSON', (key: string) => JSON.stringify({ key })],
    ['in Base64', (key: string) => Buffer.from(`user:${key}`).toString('base64')],
    ['where the excerpt ends', (key: string) => `${'.'.repeat(280)}${key}`],
  ])('should never tell the key that a server says back, %s', async (_, encode) => {
    const apiKey = 'SECRET "KEY"/+123';
    const keyed = openAiCompatibleModel({ baseUrl: server.url, apiKey, model: 'any', mask });
    const message = `bad key ${encode(apiKey)}`;
    const chunk = `data: ${JSON.stringify({ error: { message } })}\n\n`;
    for (const answer of [{ status: 401, message }, { status: 500, message }, { malformed: chunk }]) {
      server.answers = [answer];
      const error = await failure(keyed.takeTurn(TURN, quiet()));
      expect(error.message).toMatch(/: bad key .*\*\*\*/);
      for (const form of [apiKey, encode(apiKey), 'SECRET']) expect(error.message).not.toContain(form);
    }
  });

  it('should know what is the server’s fault, whoever asks it, and what is not', async () => {
    const errorOf = async (answer: (typeof server.answers)[0]) => {
      server.answers = [answer];
      const { isOutage, isTransient } = await failure(model.takeTurn(TURN, quiet()));
      return { isOutage, isTransient };
    };
    for (const status of [408, 425, 500, 503])
      expect(await errorOf({ status })).toEqual({ isOutage: true, isTransient: true });
    for (const status of [409, 429]) expect(await errorOf({ status })).toEqual({ isOutage: false, isTransient: true });
    for (const status of [400, 401, 403, 404, 413, 422])
      expect(await errorOf({ status })).toEqual({ isOutage: false, isTransient: false });
    // Some servers say so once the stream has begun.
    const within = (code: unknown) => ({
      malformed: `data: ${JSON.stringify({ error: { message: 'no', code } })}\n\n`,
    });
    expect(await errorOf(within(400))).toEqual({ isOutage: false, isTransient: false });
    expect(await errorOf(within(502))).toEqual({ isOutage: true, isTransient: true });
    expect(await errorOf(within('insufficient_quota'))).toEqual({ isOutage: false, isTransient: true });
  });

  it('should tell of an answer that it was cut', async () => {
    server.answers = [{ text: 'hello dear', finishReason: 'length' }];
    expect(await model.takeTurn({ ...TURN, maxTokens: 2 }, quiet())).toMatchObject({ text: 'hello dear', isCut: true });
  });

  it('should say that nobody answers', async () => {
    const gone = openAiCompatibleModel({ baseUrl: 'http://127.0.0.1:9/v1', apiKey: null, model: 'any', mask });
    const error = await failure(gone.takeTurn(TURN, quiet()));
    expect(error).toMatchObject({ isTransient: true, message: expect.stringContaining('cannot be reached') });
  });

  it('should give up a server that has begun and says nothing more', async () => {
    server.answers = [{ hangsAfter: 'hello' }];
    const impatient = openAiCompatibleModel({ baseUrl: server.url, apiKey: null, model: 'any', mask }, 300);
    const error = await failure(impatient.takeTurn(TURN, quiet()));
    expect(error).toMatchObject({ isTransient: true, message: expect.stringContaining('said nothing for 0.3 s') });
  });

  it('should close the connection when it is cancelled', async () => {
    server.answers = [{ hangsAfter: 'hello' }];
    const cancel = new AbortController();
    const reason = new Error('cancelled');
    const turn = model.takeTurn(TURN, { signal: cancel.signal, onText: () => cancel.abort(reason) });
    await expect(turn).rejects.toBe(reason);
    await expect.poll(() => server.requests[0]?.isCut).toBe(true);
  });
});

describe('an answer as JSON', () => {
  const schema = { type: 'object', properties: { score: { type: 'integer' } }, required: ['score'] };

  it('should tell the schema in the prompt and in the request', async () => {
    server.answers = [{ text: '{"score": 5}' }];
    expect(await answerAs(model, TURN, schema, quiet())).toMatchObject({ value: { score: 5 } });
    const { body } = server.requests[0]!;
    expect(body.messages[0]!.content).toContain(JSON.stringify(schema));
    expect(body.response_format).toMatchObject({ type: 'json_schema', json_schema: { schema } });
  });

  it('should be repaired once, with what is wrong', async () => {
    server.answers = [{ text: '```json\n{"score": "high"}\n```' }, { text: '{"score": 3}' }];
    const answer = await answerAs(model, TURN, schema, quiet());
    expect(answer).toMatchObject({ value: { score: 3 }, usage: { inputTokens: 22, outputTokens: 14 } });
    expect(server.requests[1]!.body.messages.at(-1)!.content).toContain('the answer/score must be integer');
    server.answers = [{ text: 'five' }, { text: 'six' }];
    const error = await failure(answerAs(model, TURN, schema, quiet()));
    expect(error.message).toContain('does not match the schema');
    expect(error.usage).toEqual(answer.usage);
    expect(server.requests).toHaveLength(4);
  });

  it('should say that it was cut, where that is why it does not match', async () => {
    const cut = { text: '{"sco', finishReason: 'length' as const };
    server.answers = [cut, { text: '{"score": 3}' }];
    expect(await answerAs(model, TURN, schema, quiet())).not.toHaveProperty('isCut');
    expect(server.requests[1]!.body.messages.at(-1)!.content).toContain('cut off');
    server.answers = [cut];
    const limited = await failure(answerAs(model, { ...TURN, maxTokens: 2 }, schema, quiet()));
    expect(limited.message).toMatch(/cut off at maxTokens \(2\) and does not match the schema/);
    const unlimited = await failure(answerAs(model, TURN, schema, quiet()));
    expect(unlimited.message).toMatch(/cut off at the model's own limit of tokens \(maxTokens is not set\)/);
  });
});
