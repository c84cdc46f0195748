import type { Transaction } from '../../db/client.ts';
import type { NotificationChannel, NotificationDelivery } from '../../db/generated/prisma/client.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import type { GuardedHttp } from '../../shared/guarded-http.ts';
import { newSecret } from '../../shared/standard-webhooks.ts';
import { parseInput } from '../../shared/validation.ts';
import { change } from '../change.ts';
import { forgottenEntity, remember } from '../idempotency.ts';
import { givenFields } from '../input.ts';
import type { Access } from '../organizations/access.ts';
import { lockOrganization } from '../organizations/members.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { addTestDelivery, CLAIM_MS } from './claim.ts';
import { type ChannelConfiguration, openConfiguration, sealConfiguration, targetOf } from './configuration.ts';
import { CHANNEL_DISABLED, createDeliver, type Deliver } from './deliver.ts';
import {
  type DeliveryOutcome,
  type Notification,
  notify,
  pruneDeliveries,
  retryDelivery,
  settled,
} from './deliveries.ts';
import {
  type GivenConfiguration,
  type NotificationChannelCreateInput,
  type NotificationChannelUpdateInput,
  notificationChannelCreateInput,
  notificationChannelUpdateInput,
} from './inputs.ts';
import { createNotificationLists, type NotificationLists } from './lists.ts';

export const MAX_CHANNELS_PER_ORGANIZATION = 100;
const TEST_MESSAGE = 'This is a test of the notification channel';

export type NotificationDependencies = ServiceDependencies & { access: Access; http: GuardedHttp };

/** `secret`: of a webhook, where it was made here; it is told this once. */
export type CreatedChannel = { channel: NotificationChannel; secret: string | null };

export type Notifications = NotificationLists & {
  create(caller: Caller | null, input: NotificationChannelCreateInput): Promise<CreatedChannel>;
  update(caller: Caller | null, input: NotificationChannelUpdateInput): Promise<NotificationChannel>;
  /** With its deliveries. */
  remove(caller: Caller | null, channelId: string | null): Promise<void>;
  /** Sends one message at once; answers with what became of it. */
  test(caller: Caller | null, channelId: string | null): Promise<NotificationDelivery>;
  /** Has a delivery that FAILED sent again, and one that is PENDING at once. */
  retry(caller: Caller | null, deliveryId: string | null): Promise<NotificationDelivery>;
  /** See `notify`: for what the server does itself. */
  notify(notification: Notification): Promise<string>;
  /** See `settled`. */
  settled(deliveryId: string, signal: AbortSignal): Promise<DeliveryOutcome>;
  deliver: Deliver;
  /** Deletes deliveries that have served their time. */
  prune(now: Date, signal?: AbortSignal): Promise<void>;
};

export function createNotifications(deps: NotificationDependencies): Notifications {
  const { prisma, pool, keyring, access } = deps;
  const lists = createNotificationLists(deps);
  const deliver = createDeliver(deps);

  return {
    ...lists,
    notify: (notification) => notify(pool, notification),
    settled: (deliveryId, signal) => settled(pool, deps.bus, deliveryId, signal),
    deliver,
    prune: (now, signal) => pruneDeliveries(pool, now, signal),

    async create(caller, input) {
      const { organizationId } = await access.requireOrganization(caller, input.organizationId, 'notification:manage');
      const values = parseInput(notificationChannelCreateInput, input);
      const { name, isEnabled, eventTypes } = values;
      const { configuration, madeSecret } = withSecret(values.configuration);
      const { id, replayed } = await change(prisma, caller!, (tx, record) => {
        const request = {
          caller: caller!,
          operation: 'notificationChannelCreate',
          key: values.idempotencyKey,
          input: { ...values, organizationId },
        };
        return remember(tx, keyring, request, async (channelId) => {
          await lockOrganization(tx, organizationId);
          const used = await tx.notificationChannel.count({ where: { organizationId } });
          if (used >= MAX_CHANNELS_PER_ORGANIZATION)
            throw new QuotaExceededError('notification channels', MAX_CHANNELS_PER_ORGANIZATION, used);
          await requireFreeName(tx, organizationId, name);
          await tx.notificationChannel.create({
            data: {
              id: channelId,
              organizationId,
              name,
              kind: configuration.kind,
              isEnabled: isEnabled ?? true,
              eventTypes: eventTypes ?? [],
              target: targetOf(configuration),
              configuration: sealConfiguration(keyring, channelId, configuration),
              followsAfter: await followFromNow(tx, organizationId),
              createdById: caller!.userId,
            },
          });
          const data = { name, kind: configuration.kind };
          record.event({ ...about(organizationId, channelId), type: 'notificationChannel.created', data });
        });
      });
      const [channel] = await lists.findChannels(caller, [id]);
      if (!channel) throw forgottenEntity('notification channel');
      return { channel, secret: replayed ? null : madeSecret };
    },

    async update(caller, input) {
      const { channelId: id, organizationId } = await requireManaged(caller, input.channelId);
      const values = parseInput(notificationChannelUpdateInput, input);
      const { name, isEnabled, eventTypes } = values;
      const fields = givenFields(values);
      return change(prisma, caller!, async (tx, record) => {
        await lockOrganization(tx, organizationId);
        const channel = await tx.notificationChannel.findUnique({ where: { id } });
        if (!channel) throw new NotFoundError('notification channel');
        if (fields.length === 0) return channel;
        if (name !== undefined && name !== channel.name) await requireFreeName(tx, organizationId, name);
        if (isEnabled === false) await failPending(tx, id);
        record.event({ ...about(organizationId, id), type: 'notificationChannel.updated', data: { fields } });
        const begins =
          !isFollowing(channel) &&
          isFollowing({ isEnabled: isEnabled ?? channel.isEnabled, eventTypes: eventTypes ?? channel.eventTypes });
        const followsAfter = begins ? await followFromNow(tx, organizationId) : undefined;
        const configured = values.configuration && reconfigure(channel, values.configuration);
        return tx.notificationChannel.update({
          where: { id },
          data: { name, isEnabled, eventTypes, followsAfter, ...configured },
        });
      });
    },

    async remove(caller, channelId) {
      const { channelId: id, organizationId } = await requireManaged(caller, channelId);
      await change(prisma, caller!, async (tx, record) => {
        await lockOrganization(tx, organizationId);
        const { count } = await tx.notificationChannel.deleteMany({ where: { id } });
        if (count === 0) throw new NotFoundError('notification channel');
        record.event({ ...about(organizationId, id), type: 'notificationChannel.deleted' });
      });
    },

    async test(caller, channelId) {
      const { channelId: id } = await requireManaged(caller, channelId);
      const claimed = await addTestDelivery(pool, id, TEST_MESSAGE);
      if (!claimed) throw new NotFoundError('notification channel');
      await deliver(claimed, AbortSignal.timeout(CLAIM_MS));
      return readDelivery(claimed.id);
    },

    async retry(caller, deliveryId) {
      const { deliveryId: id } = await access.requireNotificationDelivery(caller, deliveryId, 'notification:manage');
      await retryDelivery(pool, id);
      return readDelivery(id);
    },
  };

  function requireManaged(caller: Caller | null, channelId: string | null) {
    return access.requireNotificationChannel(caller, channelId, 'notification:manage');
  }

  async function readDelivery(id: string): Promise<NotificationDelivery> {
    const delivery = await prisma.notificationDelivery.findUnique({ where: { id } });
    if (!delivery) throw new NotFoundError('notification delivery');
    return delivery;
  }

  /** What changes with another configuration, as a whole; a webhook's secret stays where none is given. */
  function reconfigure({ id, kind, configuration: sealed }: NotificationChannel, given: GivenConfiguration) {
    if (given.kind !== kind)
      throw ValidationError.field('configuration', `the channel stays ${kind}: make another one for ${given.kind}`);
    const former = openConfiguration(keyring, id, sealed);
    const secret = former.kind === 'WEBHOOK' ? former.secret : null;
    const { configuration } = withSecret(given, secret);
    return { target: targetOf(configuration), configuration: sealConfiguration(keyring, id, configuration) };
  }
}

function withSecret(given: GivenConfiguration, former: string | null = null) {
  if (given.kind !== 'WEBHOOK') return { configuration: given as ChannelConfiguration, madeSecret: null };
  const madeSecret = given.secret === null && former === null ? newSecret() : null;
  const secret = (given.secret ?? former ?? madeSecret)!;
  return { configuration: { ...given, secret } as ChannelConfiguration, madeSecret };
}

type Following = { isEnabled: boolean; eventTypes: string[] };
const isFollowing = ({ isEnabled, eventTypes }: Following): boolean => isEnabled && eventTypes.length > 0;

/** The organization's last event: what comes after it is told. From now on somebody looks at its events. */
async function followFromNow(tx: Transaction, organizationId: string): Promise<bigint> {
  const [head] = await tx.$queryRaw<{ sequence: bigint }[]>`
    select last_sequence as sequence from event_heads where organization_id = ${organizationId}::uuid`;
  const sequence = head?.sequence ?? 0n;
  await tx.notificationCursor.createMany({ data: { organizationId, sequence }, skipDuplicates: true });
  return sequence;
}

async function failPending(tx: Transaction, channelId: string): Promise<void> {
  await tx.notificationDelivery.updateMany({
    where: { channelId, status: 'PENDING' },
    data: { status: 'FAILED', error: CHANNEL_DISABLED, claimedUntil: null },
  });
}

/** Under the organization's lock: it stays free until the commit. */
async function requireFreeName(tx: Transaction, organizationId: string, name: string): Promise<void> {
  const where = { organizationId_name: { organizationId, name } };
  if (await tx.notificationChannel.findUnique({ where, select: { id: true } }))
    throw new ConflictError(`the organization has a notification channel "${name}" already: choose another name`);
}

function about(organizationId: string, channelId: string) {
  return { organizationId, subject: { type: 'notificationChannel', id: channelId } };
}
