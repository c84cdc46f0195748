import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import { STARTER_TABS } from './starter-tabs.ts';

type Page = { html: Buffer; gzipped: Buffer; scriptHashes: string[]; etag: string };

let page: Promise<Page> | null = null;

/** Whether a browser asks for a page to look at, not for data. */
export function wantsGraphiQL({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && (headers.accept ?? '').includes('text/html');
}

/** Answers with GraphiQL: all of it from the package, nothing from elsewhere. */
export async function sendGraphiQL(request: IncomingMessage, response: ServerResponse): Promise<void> {
  page ??= renderPage();
  const { html, gzipped, scriptHashes, etag } = await page;
  response.setHeader('Content-Security-Policy', policyFor(request, scriptHashes));
  response.setHeader('Cache-Control', 'private, no-cache');
  response.setHeader('ETag', etag);
  response.setHeader('Vary', 'Accept, Accept-Encoding');
  if (request.headers['if-none-match'] === etag) {
    response.writeHead(304).end();
    return;
  }
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  const zipped = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '');
  if (zipped) response.setHeader('Content-Encoding', 'gzip');
  const body = zipped ? gzipped : html;
  response.writeHead(200, { 'Content-Length': body.length }).end(body);
}

async function renderPage(): Promise<Page> {
  // 9 MB of source: loaded when somebody first looks.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  const text = renderGraphiQL({
    title: 'WindFlow',
    subscriptionsProtocol: 'WS',
    defaultTabs: STARTER_TABS.map((tab) => ({ ...tab })),
    defaultEditorToolsVisibility: 'headers',
    isHeadersEditorEnabled: true,
    shouldPersistHeaders: true,
  });
  const scripts = [...text.matchAll(/<script>([\s\S]*?)<\/script>/g)].map((match) => match[1]!);
  const html = Buffer.from(text);
  return {
    html,
    gzipped: await promisify(gzip)(html, { level: constants.Z_BEST_SPEED }),
    scriptHashes: scripts.map((script) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`),
    etag: `"${createHash('sha256').update(html).digest('base64url').slice(0, 22)}"`,
  };
}

/** The page's own scripts and styles, its workers, and this server: nothing else. */
function policyFor({ headers: { host } }: IncomingMessage, scriptHashes: string[]): string {
  return [
    "default-src 'none'",
    `script-src ${scriptHashes.join(' ')} blob:`,
    "style-src 'unsafe-inline'",
    'worker-src blob:',
    "img-src 'self' data:",
    'font-src data:',
    `connect-src 'self' ws://${host} wss://${host}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}
