import { builder } from '../../graphql/builder.ts';
import { batchedField } from '../../graphql/field-batch.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { DeploymentServiceRef } from './services-schema.ts';
import type { Figures, ReplicaUsage, ServiceUsage } from './usage.ts';
import type { UsageSample } from './usage-sampler.ts';

/** A sample asks the runtime for every instance. */
const SAMPLE_COST = 10;

const ReplicaUsageRef = builder.objectRef<ReplicaUsage>('ReplicaUsage').implement({
  description: 'What one copy of a service uses; nulls where it does not run.',
  fields: (t) => ({
    number: t.exposeInt('number', { ...viewerIndependent, description: '1, 2, 3 …' }),
    instance: t.exposeString('instance', {
      ...viewerIndependent,
      description: 'Names this very instance, like `ServiceReplica.instance`.',
    }),
    restarts: t.exposeInt('restarts', {
      ...viewerIndependent,
      description: 'By its restart policy, since it was first started.',
    }),
  }),
});
const ServiceUsageRef = builder.objectRef<ServiceUsage>('ServiceUsage').implement({
  description: 'What a service uses: the sums of its replicas that run; nulls where none does.',
  fields: (t) => ({
    name: t.exposeString('name', { ...viewerIndependent, description: 'Its key in the compose file.' }),
    restarts: t.exposeInt('restarts', {
      ...viewerIndependent,
      description: 'By its restart policy, of all its replicas.',
    }),
    replicas: t.field({
      ...viewerIndependent,
      type: [ReplicaUsageRef],
      description: 'Its copies, by number.',
      resolve: ({ replicas }) => replicas,
    }),
  }),
});

const BYTES: Record<Exclude<keyof Figures, 'cpuPercent'>, string> = {
  memoryBytes: 'Memory, without the page cache of files; what processes share counts in parts.',
  memoryLimitBytes: 'What it may use at most; null: without a limit of its own, or the runtime has none.',
  networkReceivedBytes: 'Since it was last started; null: it shares the network of its host or another service.',
  networkSentBytes: 'Since it was last started; null: it shares the network of its host or another service.',
};

for (const ref of [ServiceUsageRef, ReplicaUsageRef] as (typeof ReplicaUsageRef)[])
  builder.objectFields(ref, (t) => ({
    cpuPercent: t.exposeFloat('cpuPercent', {
      ...viewerIndependent,
      nullable: true,
      description:
        '100: one core was busy all the time since the sample before; more on several. Null at the first sample.',
    }),
    ...Object.fromEntries(
      Object.entries(BYTES).map(([name, description]) => [
        name,
        t.field({
          ...viewerIndependent,
          type: 'SafeInt',
          nullable: true,
          description,
          resolve: (usage: Figures) => usage[name as keyof typeof BYTES],
        }),
      ]),
    ),
  }));

const ServiceStats = builder.objectRef<UsageSample>('ServiceStats').implement({
  description: 'What the services of a deployment use at one moment.',
  fields: (t) => ({
    sampledAt: t.expose('sampledAt', {
      ...viewerIndependent,
      type: 'DateTime',
      description: 'When; of a deployment that is final, its end.',
    }),
    services: t.field({
      ...viewerIndependent,
      type: [ServiceUsageRef],
      description: 'All of them, by name.',
      resolve: ({ services }) => services,
    }),
  }),
});

builder.objectField(DeploymentServiceRef, 'usage', (t) =>
  t.field({
    type: ServiceUsageRef,
    nullable: true,
    description:
      'What it uses now, at most 2 s old; null where nothing of it runs, or this server does not reach its host. `cpuPercent` is null unless a sample of the last minute can be compared with.',
    complexity: { field: SAMPLE_COST, multiplier: 1 },
    resolve: async ({ deploymentId, name }, _args, context, info) => {
      const load = (ids: string[]) => context.services.deployments.usage(ids);
      const sample = await batchedField(context, info, deploymentId, deploymentId, load);
      return sample?.services.find((service) => service.name === name && service.isRunning) ?? null;
    },
  }),
);

builder.subscriptionField('serviceStats', (t) =>
  t.field({
    ...viewerIndependent,
    type: ServiceStats,
    description:
      'What the services of a deployment use now, then every 2 s; a slow reader is told the newest. Completes when the deployment is final. Ends with UNAVAILABLE where this server does not reach its host: another one of the installation may.',
    args: { deploymentId: t.arg.id({ required: true, description: 'Which.' }) },
    subscribe: (_root, args, { services, caller, lifetime }) =>
      services.deployments.followUsage(caller, decodeIdOf('Deployment', args.deploymentId), lifetime.signal) as never,
    resolve: (sample: unknown) => sample as UsageSample,
  }),
);
