import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** One request, and how often it is sent over how many connections that stay open. */
export type Load = {
  url: string;
  headers: Record<string, string>;
  body: string;
  connections: number;
  requests: number;
};
/** Milliseconds of each request. */
export type LoadResult = { latencies: number[] };

export type LoadClient = AsyncDisposable & { run(load: Load): Promise<LoadResult> };

/** A client in a process of its own: what it uses is not counted. */
export function startLoadClient(): LoadClient {
  const child = fork(fileURLToPath(new URL('load-client.ts', import.meta.url)));
  return {
    async run(load) {
      child.send(load);
      const [answer] = (await once(child, 'message')) as [LoadResult | { error: string }];
      if ('error' in answer) throw new Error(answer.error);
      return answer;
    },
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await once(child, 'exit');
    },
  };
}
