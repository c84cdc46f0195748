import type { Pool } from 'pg';
import type { PrismaClient } from '../db/generated/prisma/client.ts';
import type { Bus } from '../realtime/bus.ts';
import type { Actor } from '../realtime/event-log.ts';
import type { StoredEvent } from '../realtime/event-store.ts';
import type { SharedTails } from '../realtime/shared-tail.ts';
import type { Clock } from '../shared/clock.ts';
import type { Keyring } from '../shared/crypto.ts';
import type { Logger } from '../shared/logger.ts';
import type { RightsWatch } from './organizations/rights-watch.ts';

/** What every domain service is made from. */
export type ServiceDependencies = {
  prisma: PrismaClient;
  pool: Pool;
  bus: Bus;
  keyring: Keyring;
  clock: Clock;
  log: Logger;
  rights: RightsWatch;
  eventTails: SharedTails<StoredEvent>;
};

/** Who asks. Anonymous callers are null. */
export type Caller = {
  userId: string;
  sessionId: string;
  isSuperadmin: boolean;
  /** What acts in this user's name, with no more than their rights; absent: they do themselves. */
  by?: { type: 'agent' | 'workflow'; id: string; executionId: string };
};

/** Whom events, and what is made, name. */
export function actorOf({ userId, by }: Caller): Actor {
  return by ? { type: by.type, id: by.id } : { type: 'user', id: userId };
}
