import { type ExecutionArgs, type ExecutionResult, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { GraphQLContext } from '../context.ts';
import { toPublicError } from '../errors.ts';

export type OperationRecord = {
  type: 'query' | 'mutation' | 'subscription';
  transport: GraphQLContext['transport'];
  /** Null where all went well. */
  code: string | null;
  seconds: number;
};

/** One line and one measurement an operation: its name, never its variables. */
export function useOperationLog(onDone: (record: OperationRecord) => void): Plugin {
  const begin = (args: ExecutionArgs) => {
    const started = performance.now();
    const context = args.contextValue as GraphQLContext;
    const operation = getOperationAST(args.document, args.operationName);
    return (result: ExecutionResult | AsyncIterable<unknown> | undefined) => {
      const errors = result && 'errors' in result ? (result.errors ?? []) : [];
      const codes = errors.map((error) => String(toPublicError(error).extensions.code));
      const seconds = (performance.now() - started) / 1_000;
      const type = operation?.operation ?? 'query';
      onDone({ type, transport: context.transport, code: codes[0] ?? null, seconds });
      context.log.info(
        {
          type,
          operation: operation?.name?.value ?? null,
          userId: context.caller?.userId ?? null,
          ms: Math.round(seconds * 1e5) / 100,
          ...(codes.length > 0 && { codes }),
        },
        'operation',
      );
    };
  };

  return {
    onExecute({ args }) {
      const done = begin(args);
      return { onExecuteDone: ({ result }) => done(result as ExecutionResult) };
    },
    onSubscribe({ args }) {
      const done = begin(args);
      return { onSubscribeResult: ({ result }) => void done(result as ExecutionResult) };
    },
  };
}
