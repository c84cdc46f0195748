import { getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { MINUTE_MS } from '../../shared/clock.ts';
import type { GraphQLContext } from '../context.ts';
import { rootFieldNames } from '../document-limits.ts';
import { createRateLimiter, type RateLimit } from '../rate-limiter.ts';

/** Mutations that cost a password hash, probe a secret, or do much and store the outcome: so often from one address. */
export const RATE_LIMITED_FIELDS: Readonly<Record<string, RateLimit>> = {
  authRegister: { max: 120, windowMs: MINUTE_MS },
  authLogin: { max: 120, windowMs: MINUTE_MS },
  authRefresh: { max: 240, windowMs: MINUTE_MS },
  deploymentPlan: { max: 120, windowMs: MINUTE_MS },
};

/** Refuses an operation whose address has called one of its mutations too often; aliases count each. */
export function useRateLimit(): Plugin {
  const limiter = createRateLimiter();
  return {
    onExecute({ args, setResultAndStopExecution }) {
      const { document, operationName } = args;
      const { ip } = args.contextValue as unknown as GraphQLContext;
      const operation = getOperationAST(document, operationName);
      if (operation?.operation !== 'mutation') return;
      const names = rootFieldNames(document, operation).filter((name) => Object.hasOwn(RATE_LIMITED_FIELDS, name));
      try {
        for (const name of names) limiter.use(`${name} ${ip}`, RATE_LIMITED_FIELDS[name]!);
      } catch (error) {
        setResultAndStopExecution({ errors: [error as never] });
      }
    },
  };
}
