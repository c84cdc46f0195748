import type { Pool } from 'pg';
import { expect } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';

export const UNDER_WAY = ['PREPARING', 'DEPLOYING', 'VERIFYING', 'CANCELLING'];

/** Every change of status of a stack's deployments, in the order in which they were committed. */
export async function statusChanges(pool: Pool, stackId: string): Promise<{ number: number; status: string }[]> {
  const { rows } = await pool.query<{ number: number; status: string }>(
    `select (data->>'number')::int as number, data->>'status' as status from events
     where data->>'stackId' = $1 and type like 'deployment.%' order by sequence`,
    [decodeIdOf('Stack', stackId)],
  );
  return rows;
}

/** Work began in the order of numbers, on one deployment at a time, and all of it ended. */
export async function expectInOrder(pool: Pool, stackId: string): Promise<void> {
  const underWay = new Set<number>();
  let last = 0;
  for (const { number, status } of await statusChanges(pool, stackId)) {
    if (status === 'PREPARING') {
      expect(number).toBeGreaterThan(last);
      last = number;
    }
    if (UNDER_WAY.includes(status)) underWay.add(number);
    else underWay.delete(number);
    expect(underWay.size, `${[...underWay].join(' and ')} at once`).toBeLessThan(2);
  }
  expect([...underWay]).toEqual([]);
  expect(last, 'the last number that was worked on').toBeGreaterThan(0);
}
