import { z } from 'zod';
import type {
  ExecutionKind,
  ExecutionStatus,
  ExecutionStepState,
  ExecutionTrigger,
} from '../../db/generated/prisma/enums.ts';
import type { TokenUsage } from '../../models/model.ts';
import { SECOND_MS } from '../../shared/clock.ts';
import type { TimeBudget } from './time-budget.ts';

/** An execution as whoever works on it reads it. */
export type ExecutionRow = {
  id: string;
  revision: number;
  organizationId: string;
  kind: ExecutionKind;
  status: ExecutionStatus;
  statusReason: string | null;
  /** What it carries out, as it was when it began. */
  definition: unknown;
  input: unknown;
  agentId: string | null;
  workflowId: string | null;
  continuesId: string | null;
  trigger: ExecutionTrigger;
  createdById: string | null;
  /** The execution that waits for its end, and in which step. */
  parentId: string | null;
  parentStep: string | null;
  /** Milliseconds since the epoch. */
  createdAt: number;
  inputTokens: number;
  outputTokens: number;
  /** Its time is over. */
  isLate: boolean;
  /** The database's time when it was read, in milliseconds since the epoch. */
  now: number;
};

export type StepRow = {
  position: number;
  key: string;
  kind: string;
  state: ExecutionStepState;
  attempt: number;
  /** Attempts that failed; the others were interrupted, or succeeded. */
  failures: number;
  dependsOn: string[];
  input: unknown;
  output: unknown;
  error: string | null;
  approval: Approval | null;
  /** The type of the event that it waits for. */
  waitsFor: string | null;
  /** When it is looked at again; milliseconds since the epoch. */
  wakeAt: number | null;
  /** That time has come. */
  isDue: boolean;
};

/** What is asked of people, and what they said. */
export type Approval = {
  message: string;
  role: 'DEVELOPER' | 'ADMIN' | 'OWNER';
  decision?: { approved: boolean; comment: string | null; userId: string };
};

/** What is to become of a step, which comes to be with it where there is none of its key. */
export type StepOrder = {
  key: string;
  kind: string;
  dependsOn?: string[];
  input?: unknown;
} & (
  | { state: 'PENDING' }
  /** `reason`: why, in words. */
  | { state: 'SKIPPED'; reason: string }
  /** It is carried out. */
  | { state: 'RUNNING' }
  /** For people, or for a time to come. */
  | { state: 'WAITING'; approval?: Approval; waitsFor?: string; wakeAt?: Date }
  | { state: 'SUCCEEDED'; output: unknown }
  /** `isTransient`: it is tried again as its policy says. */
  | { state: 'FAILED'; error: string; output?: unknown; isTransient?: boolean }
);

export type Conclusion = { status: 'COMPLETED'; output: unknown } | { status: 'FAILED'; reason: string };

/**
 * What comes next; neither orders nor a conclusion: what is under way, or waited for, decides. `isMore`: there is more to decide, for which
 * the time did not do.
 */
export type Next = { orders: StepOrder[]; conclusion?: Conclusion; isMore?: boolean };

export type StepWork = {
  execution: ExecutionRow;
  step: StepRow;
  /** All of them, in their order. */
  steps: readonly StepRow[];
  /** Aborts when it must not go on: whatever it has open closes. */
  signal: AbortSignal;
  /** Aborts with it where the execution is taken back, or late: what it began elsewhere is taken back too. */
  cancelled: AbortSignal;
  /** Adds to what the execution writes; resolves when it is time for more. */
  write(text: string): Promise<void>;
};

export type StepResult =
  | { output: unknown; usage?: TokenUsage }
  /** What it began ends it, by writing into its row; `wakeAt`: until when. */
  | { isWaiting: true; wakeAt?: Date };

type StepFailureDetails = {
  isTransient?: boolean;
  retryAfterMs?: number | null;
  usage?: TokenUsage;
  output?: unknown;
};

/** A step did not succeed. The message is for users. */
export class StepFailure extends Error {
  override name = 'StepFailure';
  /** Whether the same may succeed a little later, and what it asks to be left alone for. */
  readonly isTransient: boolean;
  readonly retryAfterMs: number | null;
  readonly usage: TokenUsage | undefined;
  /** What came of it all the same, for those who look at a step that failed. */
  readonly output: unknown;
  constructor(message: string, details: StepFailureDetails = {}) {
    super(message);
    this.isTransient = details.isTransient ?? false;
    this.retryAfterMs = details.retryAfterMs ?? null;
    this.usage = details.usage;
    this.output = details.output ?? null;
  }
}

/** Lists and objects within each other in what came of a step. */
export const MAX_NESTING = 500;
export const MAX_ATTEMPTS = 10;
export const MAX_RETRY_DELAY_SECONDS = 60 * 60;

/** What happens after a failure that may pass. */
export const retryPolicy = z.strictObject({
  attempts: z.int().min(1).max(MAX_ATTEMPTS).default(3).describe('How often it is tried in all.'),
  delaySeconds: z.number().min(0).max(MAX_RETRY_DELAY_SECONDS).default(1).describe('Before the second attempt.'),
  factor: z.number().min(1).max(10).default(2).describe('What each further delay is multiplied by.'),
});

export type RetryPolicy = z.output<typeof retryPolicy>;

/** How long to wait after so many attempts that failed, those that a crash interrupted aside; null: it is not tried again. */
export function pauseAfter(policy: RetryPolicy, failures: number, failure: StepFailure): number | null {
  if (!failure.isTransient || failures >= policy.attempts) return null;
  const planned = policy.delaySeconds * SECOND_MS * policy.factor ** (failures - 1);
  return Math.min(Math.max(planned, failure.retryAfterMs ?? 0), MAX_RETRY_DELAY_SECONDS * SECOND_MS);
}

/** Under this key a step acts on something else: the same for an attempt that was interrupted, another one after a failure. */
export function effectKey({ id }: ExecutionRow, { key, failures }: StepRow): string {
  return failures === 0 ? `${id}:${key}` : `${id}:${key}:${failures + 1}`;
}

/** What is known of a step of an execution that is over. */
export type StoredStep = Pick<StepRow, 'key' | 'position' | 'state'>;

/** How executions of a kind are carried out. */
export type Procedure = {
  /** How long one may take, the time in which it waits aside. */
  timeoutSecondsOf(definition: unknown): number;
  /** What comes next, from what is stored alone, as far as the time does for what has to be evaluated. */
  next(execution: ExecutionRow, steps: readonly StepRow[], budget: TimeBudget): Next;
  retryOf(execution: ExecutionRow, step: StepRow): RetryPolicy;
  /** The keys of the steps that an execution does anew which repeats another one from a step on; null: from where that failed. */
  repeatedFrom(definition: unknown, steps: readonly StoredStep[], from: string | null): ReadonlySet<string>;
  /**
   * Does a step. May be called again for one that was interrupted: what acts on something does so under the key of its execution and step.
   * @throws {StepFailure} the signal's reason where that aborted
   */
  perform(work: StepWork): Promise<StepResult>;
};
