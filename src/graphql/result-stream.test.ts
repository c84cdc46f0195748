import { describe, expect, it } from 'vitest';
import { endable } from './result-stream.ts';

/** A source that waits after its values until it is told to end. */
function scripted(values: number[], log: string[], signal: AbortSignal): AsyncGenerator<number> {
  return (async function* () {
    try {
      yield* values;
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    } finally {
      log.push('source ended');
    }
  })();
}

function open(values: number[]) {
  const log: string[] = [];
  const lifetime = new AbortController();
  const stream = endable(scripted(values, log, lifetime.signal), { lifetime, onEnd: () => log.push('told') });
  return { log, lifetime, stream };
}

describe('an endable stream', () => {
  it('should pass on what its source gives', async () => {
    const lifetime = new AbortController();
    const source = (async function* () {
      yield* [1, 2, 3];
    })();
    const ends: string[] = [];
    const stream = endable(source, { lifetime, onEnd: () => ends.push('told') });
    expect(await Array.fromAsync(stream)).toEqual([1, 2, 3]);
    expect(lifetime.signal.aborted).toBe(true);
    expect(ends).toEqual(['told']);
  });

  it('should end at once where the source still waits', async () => {
    const { stream, log } = open([1]);
    expect(await stream.next()).toEqual({ done: false, value: 1 });
    const pending = stream.next();
    expect(await stream.return!()).toMatchObject({ done: true });
    expect(await pending).toMatchObject({ done: true });
    await expect.poll(() => log).toEqual(['told', 'source ended']);
    expect(await stream.next()).toMatchObject({ done: true });
  });

  it('should end with the reason that its lifetime was given', async () => {
    const { stream, lifetime, log } = open([1]);
    await stream.next();
    const pending = stream.next();
    lifetime.abort(new RangeError('over'));
    await expect(pending).rejects.toThrow('over');
    expect(await stream.next()).toMatchObject({ done: true });
    await expect.poll(() => log).toEqual(['told', 'source ended']);
  });

  it('should end with the reason also between two results', async () => {
    const { stream, lifetime } = open([1, 2]);
    await stream.next();
    lifetime.abort(new RangeError('over'));
    await expect(stream.next()).rejects.toThrow('over');
  });

  it('should pass on what its source fails with, once', async () => {
    const lifetime = new AbortController();
    const ends: string[] = [];
    const source = (async function* () {
      yield 1;
      throw new RangeError('broken');
    })();
    const stream = endable(source, { lifetime, onEnd: () => ends.push('told') });
    await stream.next();
    await expect(stream.next()).rejects.toThrow('broken');
    expect(await stream.next()).toMatchObject({ done: true });
    expect(ends).toEqual(['told']);
  });
});
