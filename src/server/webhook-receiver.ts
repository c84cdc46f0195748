import type { IncomingMessage, ServerResponse } from 'node:http';
import { finished } from 'node:stream/promises';
import type { Services } from '../graphql/context.ts';
import { WEBHOOK_PATH } from '../shared/webhook-path.ts';

/** What the body of a request may have, in bytes. */
export const MAX_WEBHOOK_BODY_BYTES = 256 * 1024;
/** Whoever goes on sending a body that is refused is listened to for so long. */
const LINGER_MS = 5_000;

export function isWebhook(path: string): boolean {
  return path.startsWith(WEBHOOK_PATH);
}

/** Answers a signed request of another system with the run that it began. */
export async function receiveWebhook(
  { workflows }: Pick<Services, 'workflows'>,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  lingerMs = LINGER_MS,
): Promise<void> {
  const { status, body } = await answerOf();
  const text = JSON.stringify(body);
  if (status === 405) response.setHeader('Allow', 'POST');
  // What is left of the body would be taken for the next request.
  if (status === 413) response.setHeader('Connection', 'close');
  response.setHeader('Content-Length', Buffer.byteLength(text));
  response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' });
  response.write(text);
  if (status === 413) await discard(request, lingerMs);
  response.end();

  async function answerOf() {
    if (request.method !== 'POST') return { status: 405, body: { message: 'only POST is taken here' } };
    const text = await readBody(request);
    if (text === null)
      return { status: 413, body: { message: `the body is longer than ${MAX_WEBHOOK_BODY_BYTES} bytes` } };
    const header = (name: string) => request.headers[name] as string | undefined;
    return workflows.receive({
      workflowId: path.slice(WEBHOOK_PATH.length),
      id: header('webhook-id'),
      timestamp: header('webhook-timestamp'),
      signature: header('webhook-signature'),
      body: text,
    });
  }
}

/** Null where it is too long. */
async function readBody(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    length += (chunk as Buffer).length;
    if (length > MAX_WEBHOOK_BODY_BYTES) return null;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Reads what is still sent: a connection that ends with something unread is reset, which may take the answer with it. */
async function discard(request: IncomingMessage, forMs: number): Promise<void> {
  request.resume();
  await finished(request, { signal: AbortSignal.timeout(forMs) }).catch(() => undefined);
}
