import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How the server answers one request. */
export type Answer =
  | {
      text?: string;
      toolCalls?: { name: string; arguments: string }[];
      /** Between two words. */
      pauseMs?: number;
      /** Why it ends; absent: it is all said. */
      finishReason?: 'length';
    }
  /** Exactly these, one by one, halves of characters too. */
  | { pieces: string[]; pauseMs?: number }
  /** An error of the server's, with its status. */
  | { status: number; message?: string; retryAfter?: string }
  /** The connection ends in the middle of the answer. */
  | { breaksAfter: string }
  /** Begins to answer, and says nothing more. */
  | { hangsAfter: string }
  /** Is no stream of completions. */
  | { malformed: string };

export type AskedRequest = {
  body: {
    model: string;
    messages: { role: string; content: unknown; tool_calls?: unknown; tool_call_id?: string }[];
    tools?: { function: { name: string; parameters: unknown } }[];
    [key: string]: unknown;
  };
  headers: IncomingMessage['headers'];
  /** Whether the client closed the connection before the answer was over. */
  isCut: boolean;
  /** Whether the server has said all that it says, the hanging one too. */
  isSaid: boolean;
};

/** A server that speaks OpenAI's chat completions, streaming, and can do wrong whatever real ones do. */
export class ModelServer implements AsyncDisposable {
  /** In the order in which they came. */
  readonly requests: AskedRequest[] = [];
  /** What it says to the next requests, by itself or by what it is asked; the last one stays. */
  answers: (Answer | ((asked: AskedRequest['body']) => Answer))[] = [{ text: 'hello' }];
  readonly #server = createServer((request, response) => void this.#serve(request, response));

  static async start(): Promise<ModelServer> {
    const server = new ModelServer();
    await once(server.#server.listen(0, '127.0.0.1'), 'listening');
    return server;
  }

  /** What clients take as their base. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const asked: AskedRequest = {
      body: JSON.parse(Buffer.concat(chunks).toString()),
      headers: request.headers,
      isCut: false,
      isSaid: false,
    };
    this.requests.push(asked);
    response.on('close', () => {
      asked.isCut = !response.writableFinished;
    });
    const next = this.answers.length > 1 ? this.answers.shift()! : this.answers[0]!;
    const answer = typeof next === 'function' ? next(asked.body) : next;
    if ('status' in answer) {
      if (answer.retryAfter !== undefined) response.setHeader('retry-after', answer.retryAfter);
      const error = { message: answer.message ?? 'no', type: 'error' };
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if ('malformed' in answer) {
      response.end(answer.malformed);
    } else if ('breaksAfter' in answer) {
      await this.#say(response, wordsOf(answer.breaksAfter));
      response.destroy();
    } else if ('hangsAfter' in answer) {
      await this.#say(response, wordsOf(answer.hangsAfter));
      asked.isSaid = true;
    } else {
      const isExact = 'pieces' in answer;
      await this.#say(response, isExact ? answer.pieces : wordsOf(answer.text ?? ''), answer.pauseMs);
      const calls = isExact ? [] : (answer.toolCalls ?? []);
      for (const [index, { name, arguments: json }] of calls.entries()) {
        const call = {
          index,
          id: `call-${this.requests.length}-${index}`,
          type: 'function',
          function: { name, arguments: json },
        };
        this.#send(response, { delta: { tool_calls: [call] }, finish_reason: null });
      }
      const reason = isExact ? undefined : answer.finishReason;
      this.#send(response, { delta: {}, finish_reason: reason ?? (calls.length > 0 ? 'tool_calls' : 'stop') });
      const usage = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };
      response.write(`data: ${JSON.stringify({ ...ENVELOPE, choices: [], usage })}\n\n`);
      response.end('data: [DONE]\n\n');
      asked.isSaid = true;
    }
  }

  async #say(response: ServerResponse, pieces: readonly string[], pauseMs = 0): Promise<void> {
    for (const content of pieces) {
      this.#send(response, { delta: { role: 'assistant', content }, finish_reason: null });
      // A pause, or at least another turn of the loop: each is a chunk of its own.
      await sleep(pauseMs);
      if (response.destroyed) return;
    }
  }

  #send(response: ServerResponse, choice: object): void {
    response.write(`data: ${JSON.stringify({ ...ENVELOPE, choices: [{ index: 0, ...choice }] })}\n\n`);
  }
}

const wordsOf = (text: string): string[] => text.match(/\s*\S+(\s+$)?/g) ?? [];
const ENVELOPE = { id: 'one', object: 'chat.completion.chunk', created: 1, model: 'any' };
