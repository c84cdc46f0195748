import { builder } from '../../graphql/builder.ts';
import { DeletedRef } from '../../graphql/error-types.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { NotificationChannelRef, NotificationDeliveryRef } from './schema.ts';
import type { CreatedChannel } from './service.ts';

const ADDRESS =
  'An address of http or https, up to 4,000 characters; of the public internet, unless the server allows others.';
const EVENT_TYPES =
  'Of which events it is told, up to 100: types of docs/events.md, or all of a subject as "deployment.*"';

const SmtpSecurityRef = builder.enumType('SmtpSecurity', {
  description: 'How the connection to a mail server is encrypted.',
  values: {
    STARTTLS: { description: 'It begins in the clear and must become encrypted before anything is said; port 587.' },
    TLS: { description: 'From the first byte; port 465.' },
    NONE: { description: 'Not at all, the password neither.' },
  },
});
const WebhookConfigurationInput = builder.inputType('NotificationWebhookInput', {
  description: 'A server that takes signed requests: see docs/notifications.md.',
  fields: (t) => ({
    url: t.string({ required: true, description: ADDRESS }),
    secret: t.string({
      description:
        'What requests are signed with, never readable again: "whsec_" and 24–64 bytes in base64. Absent: one is made and told once; in an update the former one stays.',
    }),
  }),
});
const SlackConfigurationInput = builder.inputType('NotificationSlackInput', {
  description: 'An incoming webhook.',
  fields: (t) => ({ url: t.string({ required: true, description: ADDRESS }) }),
});
const DiscordConfigurationInput = builder.inputType('NotificationDiscordInput', {
  description: 'A webhook of a channel.',
  fields: (t) => ({ url: t.string({ required: true, description: ADDRESS }) }),
});
const EmailConfigurationInput = builder.inputType('NotificationEmailInput', {
  description: 'Recipients, and the mail server that takes messages for them.',
  fields: (t) => ({
    to: t.stringList({ required: true, description: '1–20 e-mail addresses.' }),
    from: t.string({ required: true, description: 'The address of the sender, as the server lets it be used.' }),
    host: t.string({
      required: true,
      description: 'Name or address of the server; of the public internet, unless this server allows others.',
    }),
    port: t.int({ description: '1–65,535; absent: 587.' }),
    security: t.field({ type: SmtpSecurityRef, description: 'Absent: STARTTLS.' }),
    username: t.string({ description: '1–1,000 characters, together with a password; absent: without a login.' }),
    password: t.string({ description: '1–1,000 characters; never readable again.' }),
  }),
});
const ConfigurationInput = builder.inputType('NotificationConfigurationInput', {
  description: 'How a channel is reached: exactly one of these, which says of which kind it is.',
  isOneOf: true,
  fields: (t) => ({
    webhook: t.field({ type: WebhookConfigurationInput, description: 'WEBHOOK.' }),
    slack: t.field({ type: SlackConfigurationInput, description: 'SLACK.' }),
    discord: t.field({ type: DiscordConfigurationInput, description: 'DISCORD.' }),
    email: t.field({ type: EmailConfigurationInput, description: 'EMAIL.' }),
  }),
});

const ChannelCreateInput = builder.inputType('NotificationChannelCreateInput', {
  description: 'A new channel.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Whose it will be.' }),
    name: t.string({ required: true, description: '1–100 characters, unique in the organization.' }),
    isEnabled: t.boolean({ description: 'Absent: true.' }),
    eventTypes: t.stringList({ description: `${EVENT_TYPES}. Absent or empty: of none.` }),
    configuration: t.field({ type: ConfigurationInput, required: true, description: 'How it is reached.' }),
    idempotencyKey: t.string({
      description: 'Up to 128 characters: the same key and input create once in 24 hours.',
    }),
  }),
});
const ChannelUpdateInput = builder.inputType('NotificationChannelUpdateInput', {
  description: 'What changes; absent fields stay.',
  fields: (t) => ({
    notificationChannelId: t.id({ required: true, description: 'Its global ID.' }),
    name: t.string({ description: '1–100 characters, unique in the organization.' }),
    isEnabled: t.boolean({ description: 'False: what is PENDING becomes FAILED, and nothing is sent any more.' }),
    eventTypes: t.stringList({ description: `${EVENT_TYPES}. Empty: of none. In place of the former ones.` }),
    configuration: t.field({
      type: ConfigurationInput,
      description: 'In place of the former one, as a whole, but for a webhook’s secret. The kind stays.',
    }),
  }),
});
const ChannelDeleteInput = builder.inputType('NotificationChannelDeleteInput', {
  description: 'What is deleted.',
  fields: (t) => ({ notificationChannelId: t.id({ required: true, description: 'Its global ID.' }) }),
});
const ChannelTestInput = builder.inputType('NotificationChannelTestInput', {
  description: 'What is tried.',
  fields: (t) => ({ notificationChannelId: t.id({ required: true, description: 'Its global ID.' }) }),
});
const DeliveryRetryInput = builder.inputType('NotificationDeliveryRetryInput', {
  description: 'What is sent again.',
  fields: (t) => ({ notificationDeliveryId: t.id({ required: true, description: 'Its global ID.' }) }),
});

const ChannelCreatedRef = builder.objectRef<CreatedChannel>('NotificationChannelCreated').implement({
  description: 'A new channel.',
  fields: (t) => ({
    channel: t.field({
      type: NotificationChannelRef,
      description: 'What was made.',
      resolve: ({ channel }) => channel,
    }),
    secret: t.exposeString('secret', {
      nullable: true,
      description: 'What a webhook’s requests are signed with, where it was made here: told once. Else null.',
    }),
  }),
});

const channelIdOf = (globalId: string) => decodeIdOf('NotificationChannel', globalId);

builder.mutationFields((t) => ({
  notificationChannelCreate: t.field({
    type: ChannelCreatedRef,
    nullable: true,
    description:
      'Makes a channel, one of 100 at most; it is told of what happens from now on. For admins. ConflictError: the name is taken.',
    errors: { types: [ValidationError, ConflictError, NotFoundError, QuotaExceededError] },
    args: { input: t.arg({ type: ChannelCreateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) => {
      const organizationId = decodeIdOf('Organization', input.organizationId);
      return services.notifications.create(caller, { ...input, organizationId });
    },
  }),
  notificationChannelUpdate: t.field({
    type: NotificationChannelRef,
    nullable: true,
    description: 'Changes a channel. For admins. ConflictError: the name is taken.',
    errors: { types: [ValidationError, ConflictError, NotFoundError] },
    args: { input: t.arg({ type: ChannelUpdateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.notifications.update(caller, { ...input, channelId: channelIdOf(input.notificationChannelId) }),
  }),
  notificationChannelDelete: t.field({
    type: DeletedRef,
    nullable: true,
    description: 'Deletes a channel with its deliveries; what was not sent never is. For admins.',
    errors: { types: [NotFoundError] },
    args: { input: t.arg({ type: ChannelDeleteInput, required: true }) },
    resolve: async (_root, { input: { notificationChannelId: id } }, { services, caller }) => {
      await services.notifications.remove(caller, channelIdOf(id));
      return { id };
    },
  }),
  notificationChannelTest: t.field({
    type: NotificationDeliveryRef,
    nullable: true,
    description:
      'Sends a channel one message at once, and answers with what became of it, within 30 s: PENDING where it is tried again later. For admins.',
    errors: { types: [NotFoundError] },
    args: { input: t.arg({ type: ChannelTestInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.notifications.test(caller, channelIdOf(input.notificationChannelId)),
  }),
  notificationDeliveryRetry: t.field({
    type: NotificationDeliveryRef,
    nullable: true,
    description:
      'Has a delivery that FAILED sent again: it is PENDING; one that is PENDING is sent at once. For admins. ConflictError: it was sent, or its channel is disabled.',
    errors: { types: [ConflictError, NotFoundError] },
    args: { input: t.arg({ type: DeliveryRetryInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.notifications.retry(caller, decodeIdOf('NotificationDelivery', input.notificationDeliveryId)),
  }),
}));
