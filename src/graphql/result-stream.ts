export type StreamOptions = {
  /** Ends the stream when it aborts, with its reason where that is an error of ours; is aborted when the stream is over. */
  lifetime: AbortController;
  onEnd(): void;
};

/**
 * The same results, but an end at once: `return` on an async generator waits for its pending `next`, which may be far away.
 * The source is told through `lifetime` and its own `return`.
 */
export function endable<T>(source: AsyncIterable<T>, { lifetime, onEnd }: StreamOptions): AsyncIterableIterator<T> {
  const iterator = source[Symbol.asyncIterator]();
  const { signal } = lifetime;
  let over = false;
  // Set while a result is awaited. Not a race of promises: each would leave a reaction on the one that never settles.
  let interrupt: (() => void) | null = null;
  signal.addEventListener('abort', () => interrupt?.(), { once: true });

  function finish(): void {
    if (over) return;
    over = true;
    lifetime.abort();
    // A source that fails while it is left has nobody to tell.
    void Promise.resolve(iterator.return?.()).catch(() => {});
    onEnd();
  }

  /** The end from outside: throws the reason that was given, or is simply done. */
  function stop(): IteratorResult<T> {
    finish();
    const { reason } = signal;
    if (reason instanceof Error && reason.name !== 'AbortError') throw reason;
    return { done: true, value: undefined };
  }

  function nextOrInterrupt(): Promise<IteratorResult<T>> {
    return new Promise((resolve, reject) => {
      interrupt = () => resolve({ done: true, value: undefined });
      iterator.next().then(resolve, reject);
    });
  }

  return {
    async next() {
      if (over) return { done: true, value: undefined };
      if (signal.aborted) return stop();
      try {
        const result = await nextOrInterrupt();
        if (signal.aborted) return over ? { done: true, value: undefined } : stop();
        if (result.done) finish();
        return result;
      } catch (error) {
        if (signal.aborted && !over) return stop();
        finish();
        throw error;
      } finally {
        interrupt = null;
      }
    },
    async return(value?: unknown) {
      finish();
      return { done: true, value: value as T };
    },
    async throw(error: unknown) {
      finish();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
