import type { Pool } from 'pg';
import type { Keyring } from '../shared/crypto.ts';
import { newId } from '../shared/ids.ts';

/** This database was encrypted with another WINDFLOW_SECRET_KEY. */
export class WrongSecretKeyError extends Error {
  override name = 'WrongSecretKeyError';
}

/** The first server leaves its key's fingerprint; every later one, on whatever machine, must have the same key. */
export async function requireSameKey(pool: Pool, keyring: Keyring): Promise<void> {
  // Two first starts at once: one inserts, both read what that one wrote.
  await pool.query(
    `insert into keys (id, kind, material) select $1, 'fingerprint', $2
     where not exists (select 1 from keys where kind = 'fingerprint') on conflict do nothing`,
    [newId(), keyring.fingerprint],
  );
  const { rows } = await pool.query<{ material: string }>(`select material from keys where kind = 'fingerprint'`);
  if (rows.every(({ material }) => material === keyring.fingerprint)) return;
  throw new WrongSecretKeyError(
    'WINDFLOW_SECRET_KEY is not the key that this database was encrypted with: give the former key ' +
      '(it is in secret.key of the former data directory, or in your backup)',
  );
}
