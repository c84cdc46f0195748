import type { DeploymentStatus, ExecutionStatus } from '../db/generated/prisma/enums.ts';

/** What a field of an event's data holds, in words, and of which type the ID is where it names an object. */
export type EventField = { shape: string; idOf?: string };

export type EventDescription = {
  description: string;
  /** The type of its subject in the API. */
  subject:
    | 'Organization'
    | 'User'
    | 'Invitation'
    | 'Environment'
    | 'Stack'
    | 'Deployment'
    | 'AgentTemplate'
    | 'Agent'
    | 'Workflow'
    | 'Execution'
    | 'NotificationChannel';
  /** The right that a member needs to be told of it. */
  permission: string;
  data: Record<string, EventField>;
};

const text = (shape = 'String!'): EventField => ({ shape });
const idOf = (type: string): EventField => ({ shape: `ID! of ${type}`, idOf: type });

const FIELDS = text('[String!]!, the names of what changed');
const ROLE = text('Role!');

/** What a deployment may become; QUEUED is what it is created as. */
export type DeploymentMove = Exclude<DeploymentStatus, 'QUEUED'>;
type DeploymentEvent = `deployment.${Lowercase<DeploymentMove>}`;

/** The type of the event that a deployment's new status is told by. */
export function deploymentEvent(status: DeploymentMove): DeploymentEvent {
  return `deployment.${status.toLowerCase() as Lowercase<DeploymentMove>}`;
}

/** What an execution may become; QUEUED is what it is created as. */
export type ExecutionMove = Exclude<ExecutionStatus, 'QUEUED'>;
type ExecutionEvent = `execution.${Lowercase<ExecutionMove>}`;

/** The type of the event that an execution's new status is told by. */
export function executionEvent(status: ExecutionMove): ExecutionEvent {
  return `execution.${status.toLowerCase() as Lowercase<ExecutionMove>}`;
}

const organization = (description: string, data: EventDescription['data'] = {}) =>
  ({ description, subject: 'Organization', permission: 'organization:read', data }) as const;
const member = (description: string, data: EventDescription['data'] = {}) =>
  ({ description, subject: 'User', permission: 'member:read', data }) as const;
const invitation = (description: string, data: EventDescription['data'] = {}) =>
  ({ description, subject: 'Invitation', permission: 'invitation:read', data }) as const;
const environment = (description: string, data: EventDescription['data'] = {}) =>
  ({ description, subject: 'Environment', permission: 'environment:read', data }) as const;
const stack = (description: string, data: EventDescription['data'] = {}) =>
  ({ description, subject: 'Stack', permission: 'stack:read', data }) as const;
const moved = (description: string) =>
  ({
    description,
    subject: 'Deployment',
    permission: 'deployment:read',
    data: {
      status: text('DeploymentStatus!'),
      previousStatus: text('DeploymentStatus!'),
      number: text('Int!'),
      stackId: idOf('Stack'),
      environmentId: idOf('Environment'),
      reason: text('String, why, in words'),
    },
  }) as const;

const agent = (description: string, data: EventDescription['data'] = {}) =>
  ({ description, subject: 'Agent', permission: 'agent:read', data }) as const;
const workflow = (description: string, data: EventDescription['data'] = {}) =>
  ({ description, subject: 'Workflow', permission: 'workflow:read', data }) as const;
const execution = (description: string, data: EventDescription['data'] = {}) =>
  ({
    description,
    subject: 'Execution',
    permission: 'execution:read',
    data: { status: text('ExecutionStatus!'), kind: text('ExecutionKind!'), ...data },
  }) as const;
const executionMoved = (description: string) =>
  execution(description, { previousStatus: text('ExecutionStatus!'), reason: text('String, why, in words') });

const notificationChannel = (description: string, data: EventDescription['data'] = {}) =>
  ({ description, subject: 'NotificationChannel', permission: 'notification:read', data }) as const;

const EXECUTION_MOVES: Record<ExecutionEvent, EventDescription & { permission: 'execution:read' }> = {
  'execution.running': executionMoved('Work on it began, or goes on.'),
  'execution.waiting': executionMoved('It waits for an approval, a time or an event.'),
  'execution.cancelling': executionMoved('It is being taken back.'),
  'execution.cancelled': executionMoved('It was taken back.'),
  'execution.completed': executionMoved('It has ended as it should.'),
  'execution.failed': executionMoved('It has ended otherwise.'),
};

const MOVES: Record<DeploymentEvent, EventDescription & { permission: 'deployment:read' }> = {
  'deployment.preparing': moved('Work on it began.'),
  'deployment.deploying': moved('It is prepared, and its services are changed.'),
  'deployment.verifying': moved('Its services are there, and their health is waited for.'),
  'deployment.running': moved('It is live, and all is well: for the first time, or again.'),
  'deployment.degraded': moved('It is live, and a service of it is not well.'),
  'deployment.stopping': moved('Its services are being ended.'),
  'deployment.stopped': moved('It was live, and its services have ended.'),
  'deployment.cancelling': moved('It is being taken back before it went live.'),
  'deployment.cancelled': moved('It was taken back before it went live.'),
  'deployment.failed': moved('It did not go live; what ran before, if anything did, runs on or again.'),
  'deployment.superseded': moved('Another deployment took its place.'),
};

/** Every event that there is, by type. docs/events.md is made of it: `node scripts/events.ts`. */
export const EVENT_TYPES = {
  'organization.created': organization('An organization was made.', { name: text() }),
  'organization.updated': organization('An organization, or what it may deploy to, was changed.', {
    fields: FIELDS,
    allowedRuntimes: text('[RuntimeKind!], where they were changed: all of them'),
  }),
  'organization.deleted': organization('An organization was deleted: its feed ends with this, and nobody reads it.'),
  'member.joined': member('A user became a member, by an invitation.', { role: ROLE }),
  'member.updated': member('A member has another role.', { role: ROLE, previousRole: ROLE }),
  'member.removed': member('A member was removed, or left.'),
  'invitation.created': invitation('An e-mail address was invited.', { email: text(), role: ROLE }),
  'invitation.revoked': invitation('An invitation was ended before anyone used it.'),
  'environment.created': environment('An environment was made.', {
    name: text(),
    type: text('EnvironmentType!'),
    runtime: text('RuntimeKind!'),
  }),
  'environment.updated': environment('An environment was changed.', { fields: FIELDS }),
  'environment.deleted': environment('An environment was deleted, with its deployments.'),
  'variable.set': environment('A variable of an environment has a new value, which is not told.', {
    name: text(),
    isSecret: text('Boolean!'),
  }),
  'variable.deleted': environment('A variable of an environment was deleted.', { name: text() }),
  'stack.created': stack('A stack was made.', { name: text() }),
  'stack.updated': stack('A stack was changed.', { fields: FIELDS, version: text('Int!, the current version since') }),
  'stack.deleted': stack('A stack was deleted, with its deployments.'),
  'deployment.created': {
    description: 'A deployment was asked for, and waits for its turn.',
    subject: 'Deployment',
    permission: 'deployment:read',
    data: {
      status: text('DeploymentStatus!'),
      number: text('Int!'),
      stackId: idOf('Stack'),
      environmentId: idOf('Environment'),
      trigger: text('DeploymentTrigger!'),
    },
  },
  ...MOVES,
  'agentTemplate.created': {
    description: 'A template for agents was made, or has a new version.',
    subject: 'AgentTemplate',
    permission: 'agent:read',
    data: { slug: text(), version: text('Int!') },
  },
  'agent.created': agent('An agent was made.', { name: text() }),
  'agent.updated': agent('An agent was changed.', { fields: FIELDS }),
  'agent.deleted': agent('An agent was deleted; its executions stay.'),
  'workflow.created': workflow('A workflow was made.', { name: text() }),
  'workflow.updated': workflow('A workflow was changed.', {
    fields: FIELDS,
    version: text('Int!, the current version since'),
  }),
  'workflow.skipped': workflow('A trigger of it came, and no run began.', {
    trigger: text('ExecutionTrigger!'),
    reason: text('String!, why, in words'),
  }),
  'workflow.deleted': workflow('A workflow was deleted; its executions stay.'),
  'execution.created': execution('Something was asked to run, and waits for its turn.'),
  'execution.decided': execution('A person decided about a step that asked for an approval.', {
    step: text(),
    approved: text('Boolean!'),
  }),
  ...EXECUTION_MOVES,
  'notificationChannel.created': notificationChannel('A notification channel was made.', {
    name: text(),
    kind: text('NotificationChannelKind!'),
  }),
  'notificationChannel.updated': notificationChannel('A notification channel was changed.', { fields: FIELDS }),
  'notificationChannel.deleted': notificationChannel('A notification channel was deleted, with its deliveries.'),
} as const satisfies Record<string, EventDescription>;

export type EventType = keyof typeof EVENT_TYPES;
export const ALL_EVENT_TYPES = Object.keys(EVENT_TYPES) as EventType[];

/** How an event of this type is told; null where this release does not know it. */
export function describeEvent(type: string): EventDescription | null {
  return Object.hasOwn(EVENT_TYPES, type) ? EVENT_TYPES[type as EventType] : null;
}
