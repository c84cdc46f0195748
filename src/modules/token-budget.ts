import type { Pool } from 'pg';

/** In an organization's settings: tokens that its executions may use in a month of UTC, read and written ones together. */
export const TOKEN_BUDGET_SETTING = 'monthlyTokenBudget';

/** What is wrong with the budget in an organization's settings; null: nothing. */
export function tokenBudgetProblem(settings: Record<string, unknown>): string | null {
  const budget = settings[TOKEN_BUDGET_SETTING];
  if (budget === undefined || (Number.isSafeInteger(budget) && Number(budget) >= 0)) return null;
  return 'must be a whole number of tokens, 0 or more; leave it out for no limit';
}

/** What an organization's executions may use this month, null: any number, and have used. */
export async function readBudget(pool: Pool, organizationId: string): Promise<{ limit: number | null; used: number }> {
  const { rows } = await pool.query<{ limit: number | null; used: number }>(
    `select case when jsonb_typeof(o.settings->$2) = 'number' then (o.settings->>$2)::float8 end as limit,
            (select coalesce(sum(e.input_tokens::bigint + e.output_tokens), 0)::float8 from executions e
             where e.organization_id = o.id and e.created_at >= date_trunc('month', now() at time zone 'utc') at time zone 'utc') as used
     from organizations o where o.id = $1`,
    [organizationId, TOKEN_BUDGET_SETTING],
  );
  return rows[0] ?? { limit: null, used: 0 };
}
