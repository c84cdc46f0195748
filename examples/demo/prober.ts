const PAUSE_MS = 50;
const REQUEST_LIMIT_MS = 2_000;

export type Prober = AsyncDisposable & { requests: number; failures: number };

/** Asks a URL twenty times a second until it is disposed of, and counts what was not answered with 200. */
export function startProber(url: string): Prober {
  const stopping = new AbortController();
  const prober = { requests: 0, failures: 0 };
  const probing = (async () => {
    while (!stopping.signal.aborted) {
      const answered = await fetch(url, { signal: AbortSignal.timeout(REQUEST_LIMIT_MS) })
        .then(async (response) => (await response.text()) !== '' && response.ok)
        .catch(() => false);
      prober.requests += 1;
      if (!answered) prober.failures += 1;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  })();
  return Object.assign(prober, {
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await probing;
    },
  });
}
