import type { Transaction } from '../db/client.ts';
import type { SqlExecutor } from '../realtime/sql.ts';
import type { Keyring } from '../shared/crypto.ts';
import { ConflictError } from '../shared/errors.ts';
import { newId } from '../shared/ids.ts';
import type { Caller } from './services.ts';

export const IDEMPOTENCY_HOURS = 24;

export type Remembered = { id: string; replayed: boolean };

/**
 * Runs a creating mutation once per user and key: `create` gets the id of the entity to make. The row of the key is inserted first, so a
 * parallel duplicate waits for this transaction and then gets its id; a failure rolls the row back with everything else.
 * Without a key it creates. Another operation or input under the same key is a ConflictError.
 */
export async function remember(
  tx: Transaction,
  keyring: Keyring,
  request: { caller: Caller; operation: string; key: string | null | undefined; input: object },
  create: (id: string) => Promise<void>,
): Promise<Remembered> {
  const id = newId();
  const { caller, operation, key } = request;
  if (key == null) {
    await create(id);
    return { id, replayed: false };
  }
  // Keyed: an input may hold what is stored encrypted elsewhere.
  const inputHash = keyring.mac('idempotency', canonical(request.input));
  const inserted = await tx.$queryRaw<unknown[]>`
    insert into idempotency_keys as k (user_id, key, operation, input_hash, entity_id)
    values (${caller.userId}::uuid, ${key}, ${operation}, ${inputHash}, ${id}::uuid)
    on conflict (user_id, key) do update
      set operation = excluded.operation, input_hash = excluded.input_hash, entity_id = excluded.entity_id, created_at = now()
      where k.created_at < now() - make_interval(hours => ${IDEMPOTENCY_HOURS}::int)
    returning 1`;
  if (inserted.length > 0) {
    await create(id);
    return { id, replayed: false };
  }
  const earlier = await tx.idempotencyKey.findUniqueOrThrow({ where: { userId_key: { userId: caller.userId, key } } });
  if (earlier.operation !== operation || earlier.inputHash !== inputHash) {
    throw new ConflictError('this idempotencyKey was used with another input: use a new key for a new request');
  }
  return { id: earlier.entityId, replayed: true };
}

/** Forgets the keys that no request may name any more. */
export async function pruneIdempotencyKeys(database: SqlExecutor): Promise<void> {
  await database.query('delete from idempotency_keys where created_at < now() - make_interval(hours => $1)', [
    IDEMPOTENCY_HOURS,
  ]);
}

/** What the answer is when the entity that a key made is gone, or was taken from its maker's sight. */
export function forgottenEntity(what: string): ConflictError {
  return new ConflictError(`the ${what} made with this idempotencyKey is gone: use a new key to make another`);
}

/** The same text for the same request: absent and null fields are alike, the order of keys is nothing, the key itself is left out. */
function canonical(input: object): string {
  const given = Object.entries(input).filter(([name, value]) => name !== 'idempotencyKey' && value != null);
  return JSON.stringify(Object.fromEntries(given), (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
