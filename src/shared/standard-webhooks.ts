import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** Signed requests as https://www.standardwebhooks.com has them: sent by notifications, received by workflows. */
export const SECRET_PREFIX = 'whsec_';
/** Of a secret's bytes. */
export const SECRET_BYTES = { least: 24, made: 32, most: 64 };
const VERSION = 'v1,';

/** What a receiver needs to tell who sent a body, when, and whether it has seen it. `timestamp`: seconds since the epoch. */
export type WebhookMessage = { id: string; timestamp: string; body: string };

export function newSecret(): string {
  return `${SECRET_PREFIX}${randomBytes(SECRET_BYTES.made).toString('base64')}`;
}

export function signedHeaders(secret: string, id: string, sentAt: Date, body: string): Record<string, string> {
  const timestamp = String(Math.floor(sentAt.getTime() / 1_000));
  const signature = digest(secret, { id, timestamp, body }).toString('base64');
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `${VERSION}${signature}` };
}

/** Whether one of the signatures, several apart by spaces, is that of the secret. Its age is the caller's to look at. */
export function isSigned(secret: string, message: WebhookMessage, signatures: string): boolean {
  const expected = digest(secret, message);
  return signatures.split(' ').some((signature) => {
    const given = Buffer.from(signature.startsWith(VERSION) ? signature.slice(VERSION.length) : '', 'base64');
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

function digest(secret: string, { id, timestamp, body }: WebhookMessage): Buffer {
  const key = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');
  return createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest();
}
