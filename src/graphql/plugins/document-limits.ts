import { GraphQLError, parse } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { exceededLimit } from '../document-limits.ts';
import { documentError } from '../errors.ts';
import { MAX_TOKENS } from '../limits.ts';

/** Refuses documents beyond the limits on tokens, depth, aliases and root fields, before they are validated. */
export function useDocumentLimits(): Plugin {
  return {
    onParse({ setParseFn }) {
      setParseFn((source, options) => {
        try {
          return parse(source, { ...options, maxTokens: MAX_TOKENS });
        } catch (error) {
          if (!(error instanceof GraphQLError) || !error.message.includes('Parsing aborted')) throw error;
          throw documentError('QUERY_TOO_COMPLEX', `the document has more than ${MAX_TOKENS} tokens`);
        }
      });
    },
    onValidate({ params, setResult }) {
      const exceeded = exceededLimit(params.documentAST);
      if (exceeded) setResult([documentError('QUERY_TOO_COMPLEX', exceeded)]);
      return ({ result, setResult: replaceResult }) => {
        // graphql-js stops comparing fields of the same name when there are too many of them.
        if (result.some((error) => (error as GraphQLError).message === 'Validation aborted.')) {
          replaceResult([documentError('QUERY_TOO_COMPLEX', 'the document selects the same fields too often')]);
        }
      };
    },
  };
}
