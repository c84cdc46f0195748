import type { PrismaClient } from '../../db/client.ts';
import type { Keyring } from '../../shared/crypto.ts';
import { RateLimitedError } from '../../shared/errors.ts';

/** Failed logins within a window: of one account from one address, of one account from anywhere, of one address at any account. */
export const MAX_FAILURES_PER_PAIR = 10;
export const MAX_FAILURES_PER_ACCOUNT = 100;
export const MAX_FAILURES_PER_ADDRESS = 50;
export const FAILURE_WINDOW_MINUTES = 15;

type Attempt = { account: string; address: string };
type Counter = { key: string; limit: number };

export type LoginThrottle = {
  /** Counts an attempt as a failure, before its work: parallel guesses count too. Throws RateLimitedError beyond a limit. */
  begin(attempt: Attempt): Promise<void>;
  /** Takes back what `begin` counted: the attempt succeeded. */
  succeed(attempt: Attempt): Promise<void>;
};

/** Counts in the database, for all instances; keys are keyed hashes, and the same for accounts that do not exist. */
export function createLoginThrottle({ prisma, keyring }: { prisma: PrismaClient; keyring: Keyring }): LoginThrottle {
  const counters = ({ account, address }: Attempt): Counter[] => {
    const key = (...parts: string[]) => keyring.mac('login-throttle', JSON.stringify(parts));
    return [
      { key: key('pair', account, address), limit: MAX_FAILURES_PER_PAIR },
      { key: key('account', account), limit: MAX_FAILURES_PER_ACCOUNT },
      { key: key('address', address), limit: MAX_FAILURES_PER_ADDRESS },
    ];
  };

  return {
    async begin(attempt) {
      const limits = new Map(counters(attempt).map(({ key, limit }) => [key, limit]));
      const counted = await prisma.$queryRaw<{ key: string; failures: number; retryAfterMs: number }[]>`
        insert into login_throttles as t (key, failures, window_ends_at)
        select key, 1, now() + make_interval(mins => ${FAILURE_WINDOW_MINUTES}::int)
        from unnest(${[...limits.keys()].sort()}::text[]) as key
        on conflict (key) do update set
          failures = case when t.window_ends_at <= now() then 1 else t.failures + 1 end,
          window_ends_at = case when t.window_ends_at <= now() then excluded.window_ends_at else t.window_ends_at end
        returning key, failures, ceil(extract(epoch from window_ends_at - now()) * 1000)::int as "retryAfterMs"`;
      const exceeded = counted.filter(({ key, failures }) => failures > limits.get(key)!);
      if (exceeded.length === 0) return;
      const retryAfterMs = Math.max(1, ...exceeded.map((counter) => counter.retryAfterMs));
      const minutes = Math.ceil(retryAfterMs / 60_000);
      throw new RateLimitedError(`too many failed logins: try again in ${minutes} min`, retryAfterMs);
    },
    async succeed(attempt) {
      const [pair, ...others] = counters(attempt).map(({ key }) => key);
      await prisma.$transaction([
        prisma.loginThrottle.deleteMany({ where: { key: pair } }),
        prisma.$executeRaw`update login_throttles set failures = greatest(failures - 1, 0) where key = any(${others}::text[])`,
      ]);
    },
  };
}
