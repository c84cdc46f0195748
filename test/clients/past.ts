import { createKeyring } from '../../src/shared/crypto.ts';
import { startTestApi, type TestApi } from '../support/api.ts';
import type { TestApp } from '../support/app.ts';

type Past = { app: TestApp; secretKey: Uint8Array; seconds: number };

/**
 * A server on the same database, whose clock is slow: its access tokens live for 15 minutes less these seconds, its refresh tokens
 * as long as any.
 */
export function startPast({ app, secretKey, seconds }: Past): Promise<TestApi> {
  const shares = { database: app.database, keyring: createKeyring(secretKey) } as TestApi;
  return startTestApi({ shares, clock: { now: () => new Date(Date.now() - seconds * 1_000) } });
}
