import type { NotificationChannel, NotificationDelivery } from '../../db/generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { batchedField, byId } from '../../graphql/field-batch.ts';
import { registerNode } from '../../graphql/nodes.ts';
import { connectionFor, pageArgs, pageComplexity, pageQuery } from '../../graphql/pagination.ts';
import { decodeIdOf, encodeGlobalId } from '../../shared/global-id.ts';
import { parsePage } from '../../shared/pagination.ts';
import { ActorRef } from '../identity/schema.ts';
import { OrganizationRef } from '../organizations/schema.ts';

const NotificationChannelKindRef = builder.enumType('NotificationChannelKind', {
  description: 'How a channel is reached.',
  values: {
    WEBHOOK: { description: 'Requests to a server of one’s own, signed as the Standard Webhooks specification says.' },
    SLACK: { description: 'An incoming webhook of Slack, or of what takes the same: { text }.' },
    DISCORD: { description: 'A webhook of a Discord channel.' },
    EMAIL: { description: 'E-mail, by a mail server (SMTP) of one’s own.' },
  },
});
const NotificationDeliveryStatusRef = builder.enumType('NotificationDeliveryStatus', {
  description: 'What became of a delivery.',
  values: {
    PENDING: { description: 'It is to be sent, or sent again.' },
    SENT: { description: 'The receiver took it.' },
    FAILED: { description: 'It was given up; `error` says why. notificationDeliveryRetry sends it again.' },
  },
});

export const NotificationChannelRef = builder.prismaNode('NotificationChannel', {
  description: 'Where an organization is told what happens in it. For developers and above.',
  id: { field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    organization: t.relation('organization', { description: 'Whose it is.' }),
    name: t.exposeString('name', { description: '1–100 characters, unique in the organization.' }),
    kind: t.expose('kind', { type: NotificationChannelKindRef, description: 'How it is reached; it stays that.' }),
    isEnabled: t.exposeBoolean('isEnabled', {
      description: 'False: nothing is sent to it, and what happens meanwhile is never told.',
    }),
    eventTypes: t.exposeStringList('eventTypes', {
      description:
        'Of which events it is told: types of docs/events.md, or all of a subject as "deployment.*". Empty: of what workflows and tests send alone.',
    }),
    target: t.exposeString('target', {
      description:
        'Where it leads: scheme and host of its address, the rest of which is secret; of EMAIL the recipients.',
    }),
    createdBy: t.field({
      type: ActorRef,
      nullable: true,
      description: 'Who made it; null where they are gone.',
      select: { createdBy: true },
      resolve: ({ createdBy }) => createdBy,
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was created.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When it was last changed.' }),
  }),
});
registerNode('NotificationChannel', async ({ services, caller }, ids) =>
  byId(await services.notifications.findChannels(caller, ids)),
);

export const NotificationDeliveryRef = builder.prismaNode('NotificationDelivery', {
  description:
    'A message for a channel. It is tried up to 8 times within about two and a half hours, and kept for 30 days. The receiver may get it more than once.',
  id: { field: 'id', description: 'Global ID; webhooks are told it as "webhook-id", the same at each attempt.' },
  fields: (t) => ({
    channel: t.relation('channel', { description: 'For which channel.' }),
    status: t.expose('status', { type: NotificationDeliveryStatusRef, description: 'What became of it.' }),
    eventType: t.exposeString('eventType', {
      description:
        'The type of the event that it tells of; "notification.message": a workflow sends it; "notification.test": notificationChannelTest does.',
    }),
    eventId: t.id({
      nullable: true,
      description: 'The global ID of that event; null: of none.',
      select: { eventId: true },
      resolve: ({ eventId }) => eventId && encodeGlobalId('Event', eventId),
    }),
    message: t.exposeString('message', {
      description: 'What it says, up to 10,000 characters; the first line is the subject of an e-mail.',
    }),
    attempts: t.exposeInt('attempts', { description: 'How often it was tried since it was made, or last retried.' }),
    error: t.exposeString('error', {
      nullable: true,
      description: 'Why the last attempt failed, in words; where it is SENT, which recipients were refused.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
    lastAttemptAt: t.expose('lastAttemptAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When it was last tried; null: not yet.',
    }),
    sentAt: t.expose('sentAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When the receiver took it; null: it did not.',
    }),
  }),
});
registerNode('NotificationDelivery', async ({ services, caller }, ids) =>
  byId(await services.notifications.findDeliveries(caller, ids)),
);

builder.objectField(NotificationChannelRef, 'deliveries', (t) =>
  t.field({
    type: connectionFor<NotificationDelivery>(NotificationDeliveryRef),
    nullable: true,
    description: 'What was sent to it, or is to be, in the last 30 days, the newest first.',
    args: {
      status: t.arg({ type: [NotificationDeliveryStatusRef], description: 'Only those with one of these.' }),
      ...pageArgs(),
    },
    complexity: pageComplexity,
    resolve: ({ id }, { status, ...args }, context, info) => {
      const page = parsePage(args);
      return batchedField(context, info, id, id, (ids: string[]) =>
        context.services.notifications.deliveryPages(ids, { status, page, query: pageQuery(context, info) }),
      );
    },
  }),
);

builder.queryField('notificationChannel', (t) =>
  t.prismaField({
    type: NotificationChannelRef,
    nullable: true,
    description: 'One notification channel; null where there is none that the caller may see.',
    args: { id: t.arg.id({ required: true, description: 'Its global ID.' }) },
    resolve: async (query, _root, args, { services, caller }) => {
      const id = decodeIdOf('NotificationChannel', args.id);
      return id === null ? null : ((await services.notifications.findChannels(caller, [id], query))[0] ?? null);
    },
  }),
);

builder.objectField(OrganizationRef, 'notificationChannels', (t) =>
  t.field({
    type: connectionFor<NotificationChannel>(NotificationChannelRef),
    nullable: true,
    description: 'Its notification channels, by name. To developers and above; null to others.',
    args: {
      search: t.arg.string({ description: 'A part of the name, without regard to case; up to 200 characters.' }),
      ...pageArgs(),
    },
    complexity: pageComplexity,
    resolve: ({ id }, { search, ...args }, context, info) => {
      const page = parsePage(args);
      return batchedField(context, info, id, id, (ids: string[]) =>
        context.services.notifications.channelPages(context.caller, ids, {
          ...{ search, page },
          query: pageQuery(context, info),
        }),
      );
    },
  }),
);
