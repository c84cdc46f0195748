import type { ServerResponse } from 'node:http';
import { DAY_MS, SECOND_MS } from '../shared/clock.ts';

/** JSON Schemas as they are told, by the paths at which they are: "/schemas/workflow.json". */
export type PublishedSchemas = Readonly<Record<string, string>>;

/** They change with a release alone. */
const MAX_AGE_SECONDS = DAY_MS / SECOND_MS;

/** Schemas without an address, ready to be told under the public URL, which becomes part of each one's "$id". */
export function publishSchemas(publicUrl: string, schemas: Record<string, object>): PublishedSchemas {
  return Object.fromEntries(
    Object.entries(schemas).map(([path, schema]) => [path, JSON.stringify({ ...schema, $id: publicUrl + path })]),
  );
}

export function sendSchema(response: ServerResponse, schema: string): void {
  const headers = { 'Content-Type': 'application/schema+json', 'Cache-Control': `public, max-age=${MAX_AGE_SECONDS}` };
  // For editors and pages of any site: nothing in them is anybody's.
  response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
  response.setHeader('Access-Control-Allow-Origin', '*');
  response.writeHead(200, headers).end(schema);
}
