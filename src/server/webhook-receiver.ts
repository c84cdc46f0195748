import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Services } from '../graphql/context.ts';
import { WEBHOOK_PATH } from '../shared/webhook-path.ts';

/** What the body of a request may have, in bytes. */
export const MAX_WEBHOOK_BODY_BYTES = 256 * 1024;

export function isWebhook(path: string): boolean {
  return path.startsWith(WEBHOOK_PATH);
}

/** Answers a signed request of another system with the run that it began. */
export async function receiveWebhook(
  { workflows }: Pick<Services, 'workflows'>,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
): Promise<void> {
  const { status, body } = await answerOf();
  if (status === 405) response.setHeader('Allow', 'POST');
  response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' });
  response.end(JSON.stringify(body));

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
  for await (const chunk of request) {
    length += (chunk as Buffer).length;
    if (length > MAX_WEBHOOK_BODY_BYTES) return null;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}
