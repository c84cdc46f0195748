/**
 * Of logs that were read to their end: where that is, and up to where they may be deleted. By instance. The container of an instance
 * that was stopped for good is kept until both are the same.
 */
export class ReadLogs {
  readonly #ends = new Map<string, number>();
  readonly #trimmed = new Map<string, number>();

  endOf(instanceId: string): number | undefined {
    return this.#ends.get(instanceId);
  }

  reachedEnd(instanceId: string, end: number): void {
    this.#ends.set(instanceId, end);
  }

  trim(instanceId: string, before: number): void {
    this.#trimmed.set(instanceId, before);
  }

  /** Whether all of a log was read, and stored elsewhere. */
  isDone(instanceId: string): boolean {
    const [end, before] = [this.#ends.get(instanceId), this.#trimmed.get(instanceId)];
    return end !== undefined && before !== undefined && before >= end;
  }

  forget(instanceId: string): void {
    this.#ends.delete(instanceId);
    this.#trimmed.delete(instanceId);
  }
}
