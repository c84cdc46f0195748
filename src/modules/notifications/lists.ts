import { Prisma } from '../../db/client.ts';
import type { NotificationChannel, NotificationDelivery } from '../../db/generated/prisma/client.ts';
import type { NotificationDeliveryStatus } from '../../db/generated/prisma/enums.ts';
import { type Connection, orderBy, type Page } from '../../shared/pagination.ts';
import { isAllowed, ROLES, requireCaller } from '../organizations/access.ts';
import { membershipsSql } from '../organizations/members.ts';
import { findRelatedPages } from '../related-pages.ts';
import { containsSearch } from '../search-condition.ts';
import type { Caller, ServiceDependencies } from '../services.ts';

const BY_NAME = orderBy('name', { field: 'name', direction: 'asc', type: 'text' });
const NEWEST_FIRST = orderBy('-created', { field: 'createdAt', direction: 'desc', type: 'date' });
const READERS = ROLES.filter((role) => isAllowed(role, 'notification:read'));

export type ChannelListRequest = { search?: string | null; page: Page; query?: object };
export type DeliveryListRequest = { status?: NotificationDeliveryStatus[] | null; page: Page; query?: object };

export type NotificationLists = {
  /** Those of the channels that the caller may see. */
  findChannels(caller: Caller | null, ids: string[], query?: object): Promise<NotificationChannel[]>;
  /** The same page of each organization's channels by name, by organization id; none where the caller may not see any. */
  channelPages(
    caller: Caller | null,
    organizationIds: string[],
    request: ChannelListRequest,
  ): Promise<Map<string, Connection<NotificationChannel>>>;
  /** Those of the deliveries that the caller may see. */
  findDeliveries(caller: Caller | null, ids: string[], query?: object): Promise<NotificationDelivery[]>;
  /** The same page of the deliveries, the newest first, of channels that the caller was shown, by channel id. */
  deliveryPages(
    channelIds: string[],
    request: DeliveryListRequest,
  ): Promise<Map<string, Connection<NotificationDelivery>>>;
};

export function createNotificationLists({
  prisma,
  pool,
}: Pick<ServiceDependencies, 'prisma' | 'pool'>): NotificationLists {
  return {
    async findChannels(caller, ids, query = {}) {
      const where = { id: { in: ids }, organization: shownTo(caller) };
      return prisma.notificationChannel.findMany({ ...query, where });
    },

    async channelPages(caller, organizationIds, { search, page, query = {} }) {
      const list = {
        parents: membershipsSql(caller, organizationIds, READERS),
        model: 'NotificationChannel' as const,
        parentColumn: Prisma.sql`organization_id`,
        condition: containsSearch(search, ['name']),
        order: BY_NAME,
        page,
        query,
      };
      return findRelatedPages({ prisma, pool }, list);
    },

    async findDeliveries(caller, ids, query = {}) {
      const where = { id: { in: ids }, channel: { organization: shownTo(caller) } };
      return prisma.notificationDelivery.findMany({ ...query, where });
    },

    async deliveryPages(channelIds, { status, page, query = {} }) {
      const list = {
        parents: Prisma.sql`select c.id from notification_channels c where c.id = any(${channelIds}::uuid[])`,
        model: 'NotificationDelivery' as const,
        parentColumn: Prisma.sql`channel_id`,
        condition: status ? Prisma.sql`x.status::text = any(${status})` : Prisma.sql`true`,
        order: NEWEST_FIRST,
        page,
        query,
      };
      return findRelatedPages({ prisma, pool }, list);
    },
  };
}

function shownTo(caller: Caller | null) {
  return { members: { some: { userId: requireCaller(caller).userId, role: { in: READERS } } } };
}
