import { OwnEngine } from '../test/support/docker/own-engine.ts';

/** A Docker Engine that the benchmark has for itself: it goes, with all that is in it, when this process ends. */
export async function openBenchEngine(): Promise<OwnEngine> {
  if (process.geteuid?.() !== 0) {
    console.warn('left out: only root can start a Docker Engine');
    process.exit(0);
  }
  // Or a signal would end this process and leave the engine; a second one must not interrupt that.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
  const engine = await OwnEngine.start(`bench-${process.pid}`);
  process.on('exit', () => engine.endNow());
  return engine;
}

/** What makes an environment one on that engine. */
export function onEngine({ endpoint }: OwnEngine): object {
  return { runtime: 'DOCKER', runtimeConfig: { endpoint } };
}
