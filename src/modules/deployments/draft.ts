import { checkStack, type Finding, type Privilege, type StackModel } from '../../compose/index.ts';
import type { RuntimeKind } from '../../db/generated/prisma/enums.ts';
import { createMasker, type Masker } from '../../realtime/masking.ts';
import type { Environments } from '../environments/service.ts';
import type { ObservedInstance } from './observation.ts';
import { essenceOf } from './plan.ts';
import { type PortSources, planPorts } from './ports.ts';
import { portPlanOf, type ReleaseSpecs, renderRelease } from './release.ts';
import type { ContainerSources } from './release-containers.ts';
import type { ReleaseSecrets, ReleaseStore } from './release-store.ts';

/** What a compose file means in an environment today. */
export type Draft = {
  /** Null where it cannot be deployed: the findings say why. */
  model: StackModel | null;
  /** They may quote secrets. */
  findings: Finding[];
  secrets: ReleaseSecrets;
  /** Hides these secrets. */
  masker: Masker;
};

export const PLAN_OUT_OF_DATE =
  'the plan is out of date: what runs, the variables or the ports have changed since it was made; make a new one';

export async function readDraft(
  environments: Pick<Environments, 'resolveVariables'>,
  place: { environmentId: string; compose: string; runtime: RuntimeKind; privileges: Privilege[] },
): Promise<Draft> {
  const { environmentId, compose, runtime, privileges } = place;
  const { plain, secrets } = await environments.resolveVariables(environmentId);
  const values = Object.entries(secrets).map(([name, { value }]) => [name, value] as const);
  const variables = { ...plain, ...Object.fromEntries(values) };
  const { model, findings } = checkStack(compose, { runtime, variables, privileges });
  return { model, findings, secrets, masker: createMasker(values.map(([, value]) => value)) };
}

/** The release that a draft comes to on a host, or what stands in the way of its ports. `random`: see `PortSources`. */
export async function draftRelease(
  releases: ReleaseStore,
  model: StackModel,
  liveReleaseId: string | null,
  ports: Pick<PortSources, 'ownerOf' | 'isOurs' | 'isFree' | 'random'>,
  containers: ContainerSources | null,
): Promise<{ specs: ReleaseSpecs; problems: string[] }> {
  const former = liveReleaseId === null ? null : (await releases.read(liveReleaseId)).specs;
  const { plan, problems } = await planPorts({
    ...ports,
    model,
    portForEach: containers === null,
    former: former ? portPlanOf(former) : {},
  });
  const hash = (text: string) => releases.hash(text);
  return { specs: renderRelease({ model, ports: plan, former, containers, hash }), problems };
}

/** Tells whether a plan still holds; keyed, since changes hold secrets. */
export function digestOf(
  releases: ReleaseStore,
  stackVersionId: string,
  next: ReleaseSpecs,
  running: readonly ObservedInstance[],
): string {
  return releases.hash(`${stackVersionId}\n${essenceOf(next, running)}`);
}
