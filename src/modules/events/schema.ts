import { builder } from '../../graphql/builder.ts';
import { batchedField, byId } from '../../graphql/field-batch.ts';
import { nodesById, registerNode } from '../../graphql/nodes.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { EVENT_RETENTION_MS } from '../../realtime/event-follower.ts';
import type { StoredEvent } from '../../realtime/event-store.ts';
import { DAY_MS } from '../../shared/clock.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { ActorRef, loadActor } from '../identity/schema.ts';
import { OrganizationRef } from '../organizations/schema.ts';
import { type EventBatch as Batch, EVENTS_BATCH } from './service.ts';
import { actorIdOf, dataOf, MAX_TYPES, subjectIdOf } from './types.ts';

const EventRef = builder.objectRef<StoredEvent>('Event');
builder.node(EventRef, {
  description: 'Something that happened in an organization. docs/events.md has every type.',
  id: { ...viewerIndependent, resolve: ({ id }) => id, description: 'Global ID.' },
  fields: (t) => ({
    type: t.exposeString('type', {
      ...viewerIndependent,
      description: 'A subject, and what became of it: "deployment.failed", "stack.created" …',
    }),
    occurredAt: t.expose('occurredAt', {
      ...viewerIndependent,
      type: 'DateTime',
      description: 'When. The order of events is that of their feed, which may differ by moments.',
    }),
    actor: t.field({
      type: ActorRef,
      nullable: true,
      description:
        'Who did it, also where they are no member any more: a person, or an agent or a workflow in the name of one; null: WindFlow itself, or someone who is gone.',
      resolve: (event, _args, context, info) => {
        const id = actorIdOf(event);
        return id === null ? null : loadActor(context, info, id);
      },
    }),
    subject: t.field({
      type: builder.nodeInterfaceRef(),
      nullable: true,
      description: 'What it happened to, as it is now; null where it is gone, or the viewer may not see it.',
      resolve: (event, _args, context, info) => {
        const id = subjectIdOf(event);
        return id === null ? null : batchedField(context, info, id, id, (ids: string[]) => nodesById(context, ids));
      },
    }),
    data: t.field({
      ...viewerIndependent,
      type: 'JSON',
      description:
        'What docs/events.md says of its type: an object; other objects by their global IDs, never a secret.',
      resolve: dataOf,
    }),
  }),
});
registerNode('Event', async ({ services, caller }, ids) => byId(await services.events.findMany(caller, ids)));

const EventBatch = builder.objectRef<Batch>('EventBatch').implement({
  description: 'A piece of an organization’s feed, in order.',
  fields: (t) => ({
    events: t.field({
      ...viewerIndependent,
      type: [EventRef],
      description: `0–${EVENTS_BATCH} events. None: the cursor moved past what is not for this feed, or live begins.`,
      complexity: { field: 1, multiplier: EVENTS_BATCH },
      resolve: ({ events }) => events,
    }),
    endCursor: t.exposeString('endCursor', { ...viewerIndependent, description: 'Where to go on with `after`.' }),
    live: t.exposeBoolean('live', {
      ...viewerIndependent,
      description: 'False while what was stored before is replayed.',
    }),
  }),
});

builder.subscriptionFields((t) => ({
  events: t.field({
    ...viewerIndependent,
    type: EventBatch,
    description: `Everything that happens in an organization, in commit order, as far as the viewer may see it: after \`after\`, else from now on. An empty batch marks the turn to live. Stays open; a reader slower than events come is fed from storage at its own pace. Events are kept for ${EVENT_RETENTION_MS / DAY_MS} days: BAD_REQUEST for a cursor that is older.`,
    args: {
      organizationId: t.arg.id({ required: true, description: 'Whose feed.' }),
      after: t.arg.string({
        description:
          'Only what comes after this cursor: an `eventCursor`, or an `endCursor` of `events` or `deploymentsChanged` of the same organization.',
      }),
      types: t.arg.stringList({
        description: `Only these: types, or all of a subject as "deployment.*"; 1–${MAX_TYPES}. BAD_REQUEST for unknown ones.`,
      }),
    },
    subscribe: (_root, { organizationId, after, types }, { services, caller, lifetime }) => {
      const request = { organizationId: decodeIdOf('Organization', organizationId), after, types };
      return services.events.follow(caller, request, lifetime.signal) as never;
    },
    resolve: (batch: unknown) => batch as Batch,
  }),
}));

builder.objectField(OrganizationRef, 'eventCursor', (t) =>
  t.string({
    description:
      'Where its feed stands, not later than anything else in the same answer: read what there is, then follow `events` or `deploymentsChanged` from here, and nothing is missed.',
    resolve: async ({ id }, _args, context, info) => {
      const noted = context.eventCursors?.get(id);
      if (noted !== undefined) return noted;
      return (await batchedField(context, info, id, id, (ids: string[]) => context.services.events.cursors(ids)))!;
    },
  }),
);
