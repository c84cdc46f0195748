/** One piece of work at a time, beside whoever starts it, who learns of its failure at the next call. */
export class BackgroundWork {
  readonly #onSettled: () => void;
  #running: Promise<void> = Promise.resolve();
  #failure: { error: unknown } | null = null;

  constructor(onSettled: () => void) {
    this.#onSettled = onSettled;
  }

  /** Resolves once nothing is under way; throws what failed. */
  async settled(): Promise<void> {
    await this.#running;
    this.throwIfFailed();
  }

  throwIfFailed(): void {
    if (this.#failure) throw this.#failure.error;
  }

  /** Only when nothing is under way. */
  start(work: Promise<void>): void {
    this.#running = work
      .catch((error: unknown) => {
        this.#failure = { error };
      })
      .then(this.#onSettled);
  }
}
