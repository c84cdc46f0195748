import { type Client, createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import type { TestApi } from './api.ts';

/** What a subscription told its client: results, then how it ended. */
export type Heard = {
  // biome-ignore lint/suspicious/noExplicitAny: results are as their test asked for them.
  results: any[];
  /** "complete", or the errors of the error message, or the close code and reason of the socket. */
  end:
    | 'complete'
    | { errors: { message: string; extensions: Record<string, unknown> }[] }
    | { code: number; reason: string }
    | null;
};

export type SocketClient = Client & { closes: { code: number; reason: string }[] };

/** A graphql-ws client that does not retry. */
export function connectSocket(
  api: Pick<TestApi, 'url'>,
  params: object = {},
  options: { retryAttempts?: number } = {},
): SocketClient {
  const closes: SocketClient['closes'] = [];
  const client = createClient({
    url: () => api.url.replace('http', 'ws'),
    webSocketImpl: WebSocket,
    connectionParams: params as Record<string, unknown>,
    retryAttempts: options.retryAttempts ?? 0,
    on: {
      closed: (event) => {
        const { code, reason } = event as { code: number; reason: string };
        closes.push({ code, reason });
      },
    },
  });
  return Object.assign(client, { closes });
}

/** Subscribes (or runs any operation) and writes down what comes. */
export function listen(
  client: Client,
  query: string,
  variables?: Record<string, unknown>,
): { heard: Heard; stop: () => void } {
  const heard: Heard = { results: [], end: null };
  const stop = client.subscribe(
    { query, variables },
    {
      next: (result) => heard.results.push(result),
      error: (error) => {
        const closed = error as { code?: number; reason?: string };
        heard.end = Array.isArray(error)
          ? { errors: error }
          : { code: closed.code ?? 0, reason: closed.reason ?? String(error) };
      },
      complete: () => {
        heard.end ??= 'complete';
      },
    },
  );
  return { heard, stop };
}

// biome-ignore lint/suspicious/noExplicitAny: events are as their test asked for them.
type StreamEvent = { event: string; data: any };

/** A stream of server-sent events; `events` grows as they come. */
export async function openEventStream(url: string, init: RequestInit = {}) {
  const abort = new AbortController();
  const response = await fetch(url, { ...init, signal: abort.signal });
  const stream = {
    response,
    events: [] as StreamEvent[],
    isOver: false,
    abort: () => abort.abort(),
    done: Promise.resolve(),
  };
  stream.done = (async () => {
    let text = '';
    try {
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        const blocks = text.split('\n\n');
        text = blocks.pop()!;
        for (const block of blocks) {
          const event = /^event: (.*)$/m.exec(block)?.[1];
          const data = /^data: ?(.*)$/m.exec(block)?.[1];
          if (event) stream.events.push({ event, data: data ? JSON.parse(data) : null });
        }
      }
    } catch {
      // Aborted by the test, or cut off by the server: the events say which.
    }
    stream.isOver = true;
  })();
  return stream;
}
