import { builder } from '../../src/graphql/builder.ts';
import { ConflictError, NotFoundError } from '../../src/shared/errors.ts';

// Import before anything that imports the schema: fields whose behaviour a test of the transports decides.

/** What the endless subscription was told, in order. */
export const probeEvents: string[] = [];

export const INTERNAL_TEXT = 'the password of the database is hunter2';

builder.queryFields((t) => ({
  probeFault: t.string({
    nullable: true,
    skipTypeScopes: true,
    resolve: () => {
      throw new Error(INTERNAL_TEXT);
    },
  }),
  probeOutage: t.string({
    nullable: true,
    skipTypeScopes: true,
    resolve: () => {
      throw Object.assign(new Error(`connect ECONNREFUSED ${INTERNAL_TEXT}`), { code: 'ECONNREFUSED' });
    },
  }),
  probeConflict: t.string({
    nullable: true,
    skipTypeScopes: true,
    resolve: () => {
      throw new ConflictError('something is in the way');
    },
  }),
  probeNumber: t.int({ nullable: true, skipTypeScopes: true, resolve: () => 1e12 }),
  probeEcho: t.string({
    nullable: true,
    skipTypeScopes: true,
    args: { text: t.arg.string({ required: true }) },
    resolve: (_root, { text }) => text,
  }),
}));

builder.subscriptionFields((t) => ({
  probeTicks: t.int({
    skipTypeScopes: true,
    args: { count: t.arg.int({ required: true }) },
    subscribe: async function* (_root: unknown, { count }: { count: number }) {
      for (let tick = 1; tick <= count; tick++) yield tick;
    },
    resolve: (tick) => tick as number,
  }),
  probeEndless: t.int({
    subscribe: async function* (_root, _args, { lifetime }) {
      probeEvents.push('started');
      try {
        yield 1;
        // As a follower of a quiet log does: it waits, and hears of the end by the signal alone.
        if (!lifetime.signal.aborted)
          await new Promise((resolve) => lifetime.signal.addEventListener('abort', resolve));
      } finally {
        probeEvents.push('ended');
      }
    },
    resolve: (tick) => tick as number,
  }),
  probeLosesAccess: t.int({
    subscribe: async function* () {
      yield 1;
      throw new NotFoundError('deployment');
    },
    resolve: (tick) => tick as number,
  }),
  probeRefused: t.int({
    subscribe: () => {
      throw new NotFoundError('deployment');
    },
    resolve: (tick) => tick as number,
  }),
  probeBreaks: t.int({
    subscribe: async function* () {
      yield 1;
      throw new Error(INTERNAL_TEXT);
    },
    resolve: (tick) => tick as number,
  }),
}));
