import type { Plugin } from 'graphql-yoga';
import { documentError } from '../errors.ts';

/** A header that a page of another site cannot send without asking first. */
export const CSRF_HEADER = 'x-windflow-csrf';
/** Bodies that it can. */
const SIMPLE_CONTENT_TYPES = ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain'];

/** Takes a POST only where a browser would have asked for permission first. A GET never changes anything. */
export function useCsrfPrevention(): Plugin {
  return {
    onRequestParse({ request }) {
      if (request.method !== 'POST' || request.headers.has(CSRF_HEADER)) return;
      const contentType = request.headers.get('content-type')?.toLowerCase() ?? '';
      if (contentType !== '' && !SIMPLE_CONTENT_TYPES.some((simple) => contentType.startsWith(simple))) return;
      throw documentError('BAD_REQUEST', 'send the operation as JSON, with "Content-Type: application/json"', 415);
    },
  };
}
