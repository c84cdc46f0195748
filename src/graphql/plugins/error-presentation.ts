import { mapAsyncIterator } from '@envelop/core';
import type { ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { presentErrors, type RequestIdentity } from '../errors.ts';

/** On HTTP, the last look at every answer, also at those that no operation came to: codes, requestId, nothing internal. */
export function useErrorPresentation(): Plugin<object, RequestIdentity> {
  return {
    onResultProcess({ result, setResult, serverContext }) {
      const identity = { requestId: serverContext.requestId, log: serverContext.log };
      if (Symbol.asyncIterator in result) {
        setResult(mapAsyncIterator(result as AsyncIterable<ExecutionResult>, (event) => present(event, identity)));
      } else if (!Array.isArray(result)) {
        setResult(present(result as ExecutionResult, identity));
      }
    },
  };
}

function present(result: ExecutionResult, identity: RequestIdentity): ExecutionResult {
  if (!result.errors?.length) return result;
  return { ...result, errors: presentErrors(result.errors, identity, { hasData: 'data' in result }) };
}
