import { builder } from '../../graphql/builder.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import type { ReplicaView, ServiceView } from './service-views.ts';

const ServiceState = builder.enumType('ServiceState', {
  description: 'What a replica does.',
  values: {
    PENDING: { description: 'Not started yet.' },
    STARTING: { description: 'Started, not healthy yet.' },
    RUNNING: { description: 'Runs; it has no health check.' },
    HEALTHY: { description: 'Its health check passes.' },
    UNHEALTHY: { description: 'Its health check fails.' },
    RESTARTING: { description: 'Ended; its restart policy starts it again soon.' },
    EXITED: { description: 'Ended by itself.' },
    STOPPED: { description: 'Was stopped, or is gone.' },
  },
});
const StepState = builder.enumType('StepState', {
  description: 'Where a step stands.',
  values: ['PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'SKIPPED'] as const,
});

const PublishedPort = builder.objectRef<ReplicaView['ports'][number]>('PublishedPort').implement({
  description: 'Where a port is reached.',
  fields: (t) => ({
    target: t.exposeInt('target', { ...viewerIndependent, description: 'As the compose file names it.' }),
    published: t.exposeInt('published', {
      ...viewerIndependent,
      description: 'On the host: a process listens there, and finds it in PORT.',
    }),
    host: t.exposeString('host', {
      ...viewerIndependent,
      description: 'The address that it is published on; "0.0.0.0": every one.',
    }),
    protocol: t.exposeString('protocol', { ...viewerIndependent, description: '"tcp" or "udp".' }),
  }),
});
const ServiceReplica = builder.objectRef<ReplicaView>('ServiceReplica').implement({
  description: 'One copy of a service.',
  fields: (t) => ({
    number: t.exposeInt('number', { ...viewerIndependent, description: '1, 2, 3 …' }),
    instance: t.exposeString('instance', {
      ...viewerIndependent,
      description: 'Names this very instance: another start by a deployment is another instance.',
    }),
    state: t.expose('state', { ...viewerIndependent, type: ServiceState, description: 'What it does.' }),
    restarts: t.exposeInt('restarts', {
      ...viewerIndependent,
      description: 'By its restart policy, since it was first started.',
    }),
    exitCode: t.exposeInt('exitCode', {
      ...viewerIndependent,
      nullable: true,
      description: 'Of its last end; 128 + n: ended by signal n. Null: never ended.',
    }),
    ports: t.field({
      ...viewerIndependent,
      type: [PublishedPort],
      description: 'Where it is reached.',
      resolve: ({ ports }) => ports,
    }),
    startedAt: t.expose('startedAt', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description: 'When it was last started.',
    }),
  }),
});
export const DeploymentServiceRef = builder.objectRef<ServiceView>('DeploymentService').implement({
  description: 'A service of a deployment.',
  fields: (t) => ({
    name: t.exposeString('name', { ...viewerIndependent, description: 'Its key in the compose file.' }),
    state: t.expose('state', { ...viewerIndependent, type: ServiceState, description: 'The worst of its replicas.' }),
    replicas: t.field({
      ...viewerIndependent,
      type: [ServiceReplica],
      description: 'Its copies, by number.',
      resolve: ({ replicas }) => replicas,
    }),
  }),
});
builder.prismaObject('DeploymentStep', {
  description: 'A part of a roll-out.',
  fields: (t) => ({
    name: t.exposeString('name', {
      ...viewerIndependent,
      description: '"prepare", "start web", "verify", "commit", "restore".',
    }),
    state: t.expose('state', { ...viewerIndependent, type: StepState, description: 'Where it stands.' }),
    startedAt: t.expose('startedAt', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description: 'When it began.',
    }),
    finishedAt: t.expose('finishedAt', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description: 'When it ended.',
    }),
    message: t.exposeString('message', {
      ...viewerIndependent,
      nullable: true,
      description: 'What there is to say about it.',
    }),
  }),
});
