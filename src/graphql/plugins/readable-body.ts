import { GraphQLError } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { documentError } from '../errors.ts';

/** Answers a body that is not JSON with 400, whatever the client accepts: there is no request in it that 200 could be about. */
export function useReadableBody(): Plugin {
  return {
    onRequestParse({ requestParser, setRequestParser }) {
      if (!requestParser) return;
      setRequestParser(async (request) => {
        try {
          return await requestParser(request);
        } catch (error) {
          if (!(error instanceof GraphQLError) || !saysNotJson(error)) throw error;
          throw documentError('BAD_REQUEST', 'the body is not JSON: send {"query": "…", "variables": {…}}', 400);
        }
      });
    },
  };
}

/** Yoga keeps what JSON.parse said. */
function saysNotJson({ extensions }: GraphQLError): boolean {
  return (extensions.originalError as Error | undefined)?.name === 'SyntaxError';
}
