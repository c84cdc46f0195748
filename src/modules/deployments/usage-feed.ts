import { Feed } from '../../realtime/feed.ts';
import type { Access } from '../organizations/access.ts';
import { requireCaller } from '../organizations/access.ts';
import type { RightsWatch } from '../organizations/rights-watch.ts';
import type { Caller } from '../services.ts';
import { SAMPLE_INTERVAL_MS, type UsageSample, type UsageSampler } from './usage-sampler.ts';

export type UsageFeedDependencies = { sampler: UsageSampler; access: Access; rights: RightsWatch };

type Follow = { told: number; signal: AbortSignal; authorize?: () => Promise<unknown> };

/**
 * What the services of a deployment use, sample by sample; ends when it is final. Opening it throws NotFoundError when it may not be
 * followed, or not any more; UnavailableError ends it where this server does not reach its host. Positions are numbers of samples.
 */
export function usageFeed(
  { sampler, access, rights }: UsageFeedDependencies,
  caller: Caller | null,
  deploymentId: string | null,
  signal: AbortSignal,
): Feed<UsageSample> {
  const authorize = () => access.requireDeployment(caller, deploymentId, 'deployment:read');
  return new Feed(async () => {
    const { deploymentId: id, organizationId, role } = await authorize();
    const { userId } = requireCaller(caller);
    return {
      topic: JSON.stringify(['usage', id, role]),
      own: () => followSamples(sampler, id, { told: 0, signal, authorize }),
      live: (told, end) => followSamples(sampler, id, { told, signal: end }),
      positionOf: ({ number }) => number,
      isLive: () => true,
      // The newest sample is all there is to tell.
      rest: (sample, told) => (sample.number > told ? sample : null),
      watchRights: (onChange) => rights.add({ userId, organizationId, role }, onChange),
    };
  }, signal);
}

/** Where it is given, `authorize` is asked at each sample, and as often where none comes. */
async function* followSamples(
  sampler: UsageSampler,
  id: string,
  { told, signal, authorize }: Follow,
): AsyncGenerator<UsageSample> {
  using watch = sampler.watch(id);
  while (!signal.aborted) {
    const sample = await watch.after(told, SAMPLE_INTERVAL_MS, signal);
    if (signal.aborted) return;
    await authorize?.();
    if (sample) {
      yield sample;
      told = sample.number;
    } else if (watch.isOver) return;
  }
}
