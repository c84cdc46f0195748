import { type DocumentNode, type FormattedExecutionResult, print } from 'graphql';
import { createClient } from 'graphql-ws';
import { DemoFailure } from './failure.ts';

/** A document with the types that codegen.ts gave it. */
type Operation<Result, Variables> = DocumentNode & { __apiType?: (variables: Variables) => Result };
type ErrorMember = { code: string; message: string };

const REQUEST_LIMIT_MS = 15_000;

/** The public API as a program uses it: operations over HTTP, subscriptions over WebSocket. */
export type ApiClient = AsyncDisposable & {
  /** Sends what follows as the bearer of this token. */
  authorize(token: string): void;
  request<Result, Variables>(operation: Operation<Result, Variables>, variables: Variables): Promise<Result>;
  subscribe<Result, Variables>(operation: Operation<Result, Variables>, variables: Variables): AsyncIterable<Result>;
};

/** `url`: of the server, like "http://127.0.0.1:4000". */
export function createApiClient(url: string): ApiClient {
  let token: string | null = null;
  const sockets = createClient({
    url: `${url.replace(/^http/, 'ws')}/graphql`,
    connectionParams: () => ({ authorization: `Bearer ${token}` }),
    retryAttempts: 0,
  });

  return {
    authorize(given) {
      token = given;
    },
    async request<Result, Variables>(operation: Operation<Result, Variables>, variables: Variables) {
      const response = await fetch(`${url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
        body: JSON.stringify({ query: print(operation), variables }),
        signal: AbortSignal.timeout(REQUEST_LIMIT_MS),
      });
      return dataOf((await response.json()) as FormattedExecutionResult<Result, unknown>);
    },
    async *subscribe<Result, Variables>(operation: Operation<Result, Variables>, variables: Variables) {
      const payload = { query: print(operation), variables: variables as Record<string, unknown> };
      for await (const result of sockets.iterate<Result>(payload)) yield dataOf(result);
    },
    async [Symbol.asyncDispose]() {
      await sockets.dispose();
    },
  };
}

function dataOf<Result>({ data, errors }: FormattedExecutionResult<Result, unknown>): Result {
  if (errors?.[0]) throw new DemoFailure(`the server refused: ${errors[0].message} (${errors[0].extensions?.code})`);
  return data as Result;
}

/** The entity of a mutation's result; throws a DemoFailure with what the server says when it is an error. */
export function entityOf<Result extends object>(
  result: Result | null | undefined,
  doing: string,
): Exclude<Result, ErrorMember> {
  if (!result) throw new DemoFailure(`${doing}: the server gave no result`);
  if (isError(result)) throw new DemoFailure(`${doing}: ${[result.message, ...detailsOf(result)].join('\n  ')}`);
  return result as Exclude<Result, ErrorMember>;
}

export function isError<Result extends object>(result: Result): result is Extract<Result, ErrorMember> {
  return 'code' in result && 'message' in result;
}

function detailsOf(error: object): string[] {
  const { fields = [], findings = [] } = error as {
    fields?: { path: string[]; message: string }[];
    findings?: { message: string; line: number | null }[];
  };
  return [
    ...fields.map(({ path, message }) => `${path.join('.')}: ${message}`),
    ...findings.map(({ line, message }) => `line ${line}: ${message}`),
  ];
}
