import { STATUS_CODES } from 'node:http';
import { SECOND_MS } from '../../shared/clock.ts';
import { type GuardedHttp, HttpRequestError } from '../../shared/guarded-http.ts';
import { signedHeaders } from '../../shared/standard-webhooks.ts';
import type { ChannelConfiguration } from './configuration.ts';
import { bodyFor, messageId, type Told } from './messages.ts';
import { SendError } from './send-error.ts';
import { sendEmail } from './smtp.ts';

export const SEND_TIMEOUT_MS = 15 * SECOND_MS;
const TOO_MANY_REQUESTS = 429;
const MAX_ANSWER_BYTES = 1_024;

/** Sends it once. Answers with who was not told, where only a part was. @throws {SendError} the signal's reason where that aborted */
export async function send(
  http: GuardedHttp,
  configuration: ChannelConfiguration,
  told: Told,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    if (configuration.kind === 'EMAIL') return await sendEmail(http, configuration, told, signal);
    await post(http, configuration, told, signal);
    return null;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error instanceof HttpRequestError ? new SendError(error.message, error.isTransient) : error;
  }
}

async function post(
  http: GuardedHttp,
  configuration: Exclude<ChannelConfiguration, { kind: 'EMAIL' }>,
  told: Told,
  signal: AbortSignal,
): Promise<void> {
  const body = bodyFor(configuration.kind, told);
  const signed =
    configuration.kind === 'WEBHOOK' ? signedHeaders(configuration.secret, messageId(told), new Date(), body) : {};
  const { status, headers } = await http.send({
    url: configuration.url,
    method: 'POST',
    headers: { 'content-type': 'application/json', ...signed },
    body,
    timeoutMs: SEND_TIMEOUT_MS,
    maxBytes: MAX_ANSWER_BYTES,
    // Followed, it would become a GET without the message.
    redirects: 'manual',
    signal,
  });
  if (status >= 200 && status < 300) return;
  // Not the answer's text: it may repeat the address, which is secret.
  const answer = `it answered ${`${status} ${STATUS_CODES[status] ?? ''}`.trim()}`;
  const isTransient = status === TOO_MANY_REQUESTS || status >= 500;
  throw new SendError(answer, isTransient, isTransient ? retryAfterMs(headers['retry-after']) : 0);
}

/** Of the two forms the one in seconds. */
function retryAfterMs(header: string | undefined): number {
  return header !== undefined && /^\d{1,9}$/.test(header) ? Number(header) * SECOND_MS : 0;
}
