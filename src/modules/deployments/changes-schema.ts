import { queryFromInfo } from '@pothos/plugin-prisma';
import { builder } from '../../graphql/builder.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import type { DeploymentChange as Change } from './changes.ts';
import { DeploymentRef, DeploymentStatusRef } from './schema.ts';

const DeploymentChange = builder.objectRef<Change>('DeploymentChange').implement({
  description: 'A deployment moved from one status to another.',
  fields: (t) => ({
    deployment: t.field({
      ...viewerIndependent,
      type: DeploymentRef,
      description: 'Which: at `status`, or further on already.',
      resolve: ({ deployment }) => deployment,
    }),
    previousStatus: t.expose('previousStatus', {
      ...viewerIndependent,
      type: DeploymentStatusRef,
      nullable: true,
      description: 'Where it stood before; null: it was created.',
    }),
    status: t.expose('status', {
      ...viewerIndependent,
      type: DeploymentStatusRef,
      description: 'Where it stood then.',
    }),
    endCursor: t.exposeString('endCursor', { ...viewerIndependent, description: 'Where to go on with `after`.' }),
  }),
});

builder.subscriptionFields((t) => ({
  deploymentsChanged: t.field({
    ...viewerIndependent,
    type: DeploymentChange,
    description:
      'Every change of status in an organization (or one environment), in order: after `after`, else from now on. Stays open. Changes of deployments that were deleted since are left out; a reader slower than they come is fed from storage at its own pace.',
    args: {
      organizationId: t.arg.id({ required: true, description: 'Whose deployments.' }),
      environmentId: t.arg.id({ description: 'Only those in this environment of it.' }),
      after: t.arg.string({
        description:
          'Only what comes after this cursor: an `eventCursor`, or an `endCursor` of `deploymentsChanged` or `events` of the same organization.',
      }),
    },
    subscribe: (_root, { organizationId, environmentId, after }, context, info) => {
      const { services, caller, lifetime } = context;
      const request = {
        organizationId: decodeIdOf('Organization', organizationId),
        environmentId: environmentId == null ? undefined : decodeIdOf('Environment', environmentId),
        after,
      };
      const query = queryFromInfo({ context, info, path: ['deployment'] }) as object;
      return services.deployments.followChanges(caller, request, lifetime.signal, query) as never;
    },
    resolve: (change: unknown) => change as Change,
  }),
}));
