import { isIP } from 'node:net';
import { z } from 'zod';
import { MAX_URL_LENGTH } from '../../shared/guarded-http.ts';
import { SECRET_BYTES, SECRET_PREFIX } from '../../shared/standard-webhooks.ts';
import { MAX_TYPES, namesEvents } from '../events/types.ts';
import { idempotencyKey, type Nullish, nameText } from '../input.ts';

export const MAX_RECIPIENTS = 20;
export const SMTP_SECURITIES = ['STARTTLS', 'TLS', 'NONE'] as const;
const MAX_CREDENTIAL_LENGTH = 1_000;
const MAX_HOST_LENGTH = 253;
const MAX_PORT = 65_535;
const DEFAULT_PORT = 587;

const url = z
  .string()
  .max(MAX_URL_LENGTH, `must have at most ${MAX_URL_LENGTH} characters`)
  .refine(isWebAddress, 'must be an absolute address of http or https, without a name or password in it');

/** As it can stand in a header of a message. */
const address = z.email('must be an e-mail address: "me@example.com"').max(254, 'must have at most 254 characters');
const credential = z
  .string()
  .regex(/^[^\p{Cc}]+$/u, 'must not be empty, nor have control characters')
  .max(MAX_CREDENTIAL_LENGTH, `must have at most ${MAX_CREDENTIAL_LENGTH} characters`);

const email = z
  .object({
    to: z
      .array(address)
      .min(1, 'is empty: name at least one')
      .max(MAX_RECIPIENTS, `must have at most ${MAX_RECIPIENTS} entries`),
    from: address,
    host: z.string().max(MAX_HOST_LENGTH).refine(isHost, 'must be the name or the address of a host'),
    port: z.int().min(1).max(MAX_PORT).nullish(),
    security: z.enum(SMTP_SECURITIES).nullish(),
    username: credential.nullish(),
    password: credential.nullish(),
  })
  .superRefine(({ username, password }, context) => {
    if ((username == null) === (password == null)) return;
    const path = [username == null ? 'username' : 'password'];
    context.addIssue({ code: 'custom', path, message: 'is needed too: a username and a password, or neither' });
  });

const webhook = z.object({
  url,
  secret: z
    .string()
    .refine(isSecret, `must be "${SECRET_PREFIX}" and 24 to 64 bytes in base64, as the Standard Webhooks want it`)
    .nullish(),
});

/** Of which GraphQL lets exactly one be given. */
const configuration = z
  .object({
    webhook: webhook.optional(),
    slack: z.object({ url }).optional(),
    discord: z.object({ url }).optional(),
    email: email.optional(),
  })
  .transform(toConfiguration);

const eventTypes = z
  .array(
    z.string().refine(namesEvents, 'names no event: give types of docs/events.md, or all of a subject as "stack.*"'),
  )
  .max(MAX_TYPES, `must have at most ${MAX_TYPES} entries`)
  .transform((types) => [...new Set(types)]);
const name = nameText(1, 100);

export const notificationChannelCreateInput = z.object({
  name,
  isEnabled: z.boolean().nullish(),
  eventTypes: eventTypes.nullish(),
  configuration,
  idempotencyKey,
});

export const notificationChannelUpdateInput = z.object({
  name: name.optional(),
  isEnabled: z.boolean({ error: 'may not be null: leave it out to keep what it is' }).optional(),
  eventTypes: eventTypes.optional(),
  configuration: configuration.optional(),
});

export type GivenConfiguration =
  | { kind: 'WEBHOOK'; url: string; secret: string | null }
  | { kind: 'SLACK' | 'DISCORD'; url: string }
  | {
      kind: 'EMAIL';
      to: string[];
      from: string;
      host: string;
      port: number;
      security: (typeof SMTP_SECURITIES)[number];
      login: { username: string; password: string } | null;
    };

export type NotificationChannelCreateInput = Nullish<z.input<typeof notificationChannelCreateInput>> & {
  organizationId: string | null;
};
export type NotificationChannelUpdateInput = Nullish<z.input<typeof notificationChannelUpdateInput>> & {
  channelId: string | null;
};

type Given = {
  webhook?: z.output<typeof webhook>;
  slack?: { url: string };
  discord?: { url: string };
  email?: z.output<typeof email>;
};

function toConfiguration(given: Given): GivenConfiguration {
  if (given.webhook) return { kind: 'WEBHOOK', url: given.webhook.url, secret: given.webhook.secret ?? null };
  if (given.slack) return { kind: 'SLACK', url: given.slack.url };
  if (given.discord) return { kind: 'DISCORD', url: given.discord.url };
  const { username, password, port, security, ...rest } = given.email!;
  return {
    kind: 'EMAIL',
    ...rest,
    port: port ?? DEFAULT_PORT,
    security: security ?? 'STARTTLS',
    login: username == null || password == null ? null : { username, password },
  };
}

function isWebAddress(text: string): boolean {
  const parsed = URL.parse(text);
  return parsed !== null && /^https?:$/.test(parsed.protocol) && parsed.username === '' && parsed.password === '';
}

function isHost(text: string): boolean {
  return isIP(text) !== 0 || /^[a-z\d]([a-z\d-]*[a-z\d])?(\.[a-z\d]([a-z\d-]*[a-z\d])?)*$/i.test(text);
}

function isSecret(text: string): boolean {
  const encoded = text.slice(SECRET_PREFIX.length);
  const bytes = Buffer.from(encoded, 'base64');
  if (!text.startsWith(SECRET_PREFIX) || bytes.toString('base64') !== encoded) return false;
  return bytes.length >= SECRET_BYTES.least && bytes.length <= SECRET_BYTES.most;
}
