import type { Pool } from 'pg';
import type { Lease } from '../../engine/host-lease.ts';
import { notifyTopics } from '../../realtime/bus.ts';
import { delay } from '../../shared/clock.ts';
import { inTransaction, untilStored } from '../lease-transaction.ts';
import { ExecutionLostError, storableText } from './ledger.ts';
import type { StepRow } from './procedure.ts';

/** Wakes whoever follows what an execution writes. */
export const outputTopic = (executionId: string): string => `output:${executionId}`;

/** At most 30 batches a second are stored, and told. */
const BATCH_INTERVAL_MS = Math.ceil(1_000 / 30);
/** With so much waiting to be stored, whoever writes waits too. */
const MAX_WAITING_CHARACTERS = 64 * 1024;
/** What one chunk holds at most. */
const MAX_CHUNK_CHARACTERS = 16 * 1024;

type Piece = { step: string; attempt: number; text: string };

/** What one attempt at a step writes. */
export type StepOutput = {
  /** Resolves when there is room for more. @throws what storing failed with */
  write(text: string): Promise<void>;
  /** Resolves when everything is stored. @throws what storing failed with */
  flush(): Promise<void>;
};

/** Stores what the steps of an execution write, in the order in which they write it. */
export class OutputWriter {
  readonly #pool: Pool;
  readonly #lease: Lease;
  readonly #executionId: string;
  #waiting: Piece[] = [];
  #characters = 0;
  #storing: Promise<void> | null = null;
  #failure: unknown = null;
  /** Of the last piece that is stored; null: not known yet. */
  #sequence: number | null = null;
  #storedAt = Number.NEGATIVE_INFINITY;

  constructor(pool: Pool, lease: Lease, executionId: string) {
    this.#pool = pool;
    this.#lease = lease;
    this.#executionId = executionId;
  }

  of({ key, attempt }: Pick<StepRow, 'key' | 'attempt'>): StepOutput {
    let half = '';
    return {
      write: async (given) => {
        const text = half + given;
        // Some models send a character in two pieces: its first half waits for the other one.
        half = /[\ud800-\udbff]$/.test(text) ? text.slice(-1) : '';
        await this.#write(key, attempt, half === '' ? text : text.slice(0, -1));
      },
      flush: async () => {
        await this.#write(key, attempt, half);
        half = '';
        await this.#flush();
      },
    };
  }

  async #write(step: string, attempt: number, text: string): Promise<void> {
    if (this.#failure) throw this.#failure;
    if (text === '') return;
    const last = this.#waiting.at(-1);
    if (last?.step === step && last.attempt === attempt && last.text.length + text.length <= MAX_CHUNK_CHARACTERS)
      last.text += text;
    else this.#waiting.push(...piecesOf(text).map((piece) => ({ step, attempt, text: piece })));
    this.#characters += text.length;
    const stored = this.#store();
    if (this.#characters > MAX_WAITING_CHARACTERS) await stored;
  }

  async #flush(): Promise<void> {
    while (!this.#failure && (this.#waiting.length > 0 || this.#storing)) await this.#store();
    if (this.#failure) throw this.#failure;
  }

  #store(): Promise<void> {
    this.#storing ??= this.#storeBatch()
      .catch((error: unknown) => {
        this.#failure = error;
      })
      .finally(() => {
        this.#storing = null;
        // Nothing more may be written for long.
        if (this.#waiting.length > 0 && !this.#failure) void this.#store();
      });
    return this.#storing;
  }

  async #storeBatch(): Promise<void> {
    await delay(Math.max(0, this.#storedAt + BATCH_INTERVAL_MS - performance.now()), this.#lease.signal);
    const pieces = this.#waiting;
    this.#waiting = [];
    this.#characters = 0;
    this.#storedAt = performance.now();
    this.#sequence ??= await untilStored(this.#lease.signal, () => this.#readSequence());
    const after = this.#sequence;
    await untilStored(this.#lease.signal, async () => {
      const isStored = await storeOutput(this.#pool, this.#lease, this.#executionId, after, pieces);
      // What was stored although the answer got lost is not stored twice.
      if (!isStored && (await this.#readSequence()) !== after + pieces.length)
        throw new ExecutionLostError('somebody else works on the execution, or it is gone');
    });
    this.#sequence = after + pieces.length;
  }

  async #readSequence(): Promise<number> {
    const { rows } = await this.#pool.query<{ last: string }>(
      'select output_sequence as last from executions where id = $1 and host_id = $2 and host_epoch = $3',
      [this.#executionId, this.#lease.hostId, this.#lease.epoch],
    );
    if (!rows[0]) throw new ExecutionLostError('somebody else works on the execution, or it is gone');
    return Number(rows[0].last);
  }
}

/** Whether it could be: not where the last stored piece is another one than `after`. */
async function storeOutput(
  pool: Pool,
  lease: Lease,
  executionId: string,
  after: number,
  pieces: readonly Piece[],
): Promise<boolean> {
  return inTransaction(pool, async (client) => {
    const { rowCount } = await client.query({
      name: 'store-execution-output',
      text: `
        with head as (
          update executions set output_sequence = output_sequence + $4
          where id = $1 and host_id = $2 and host_epoch = $3 and output_sequence = $8 and finished_at is null
          returning output_sequence - $4 as before
        )
        insert into execution_output (execution_id, sequence, step, attempt, text)
        select $1, head.before + ordinal, step, attempt, text
        from head, unnest($5::text[], $6::int[], $7::text[]) with ordinality as given(step, attempt, text, ordinal)`,
      values: [
        executionId,
        lease.hostId,
        lease.epoch,
        pieces.length,
        pieces.map(({ step }) => step),
        pieces.map(({ attempt }) => attempt),
        pieces.map(({ text }) => storableText(text)),
        after,
      ],
    });
    if (rowCount === 0) return false;
    await notifyTopics(client, [outputTopic(executionId)]);
    return true;
  });
}

function piecesOf(text: string): string[] {
  const pieces: string[] = [];
  for (let at = 0, end = 0; at < text.length; at = end) {
    end = Math.min(at + MAX_CHUNK_CHARACTERS, text.length);
    // Not between the halves of a character.
    if (end < text.length && /[\ud800-\udbff]/.test(text[end - 1]!)) end -= 1;
    pieces.push(text.slice(at, end));
  }
  return pieces;
}
