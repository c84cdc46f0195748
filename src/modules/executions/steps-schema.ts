import { builder } from '../../graphql/builder.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { encodeGlobalId } from '../../shared/global-id.ts';
import { loadActor, UserRef } from '../identity/schema.ts';
import type { Approval } from './procedure.ts';

export const ExecutionStepStateRef = builder.enumType('ExecutionStepState', {
  description: 'Where a step stands; the last four are final.',
  values: {
    PENDING: { description: 'Others come first.' },
    RUNNING: { description: 'It is being done.' },
    WAITING: { description: 'For an approval, a timer or an event.' },
    RETRYING: { description: 'An attempt failed, and the next one comes after a pause.' },
    SUCCEEDED: { description: 'It is done.' },
    FAILED: { description: 'It could not be done; error says why.' },
    SKIPPED: { description: 'It was not to be done.' },
    CANCELLED: { description: 'The execution was taken back, or its time was over.' },
  },
});

const ApprovalRef = builder.objectRef<Approval>('ExecutionApproval').implement({
  description: 'What a step asks of people: see executionApprove.',
  fields: (t) => ({
    message: t.exposeString('message', { ...viewerIndependent, description: 'What is to be approved.' }),
    role: t.exposeString('role', { ...viewerIndependent, description: 'The least role that may decide.' }),
    approved: t.boolean({
      ...viewerIndependent,
      nullable: true,
      description: 'What was decided; null: nothing yet.',
      resolve: ({ decision }) => decision?.approved ?? null,
    }),
    comment: t.string({
      ...viewerIndependent,
      nullable: true,
      description: 'What was said with it.',
      resolve: ({ decision }) => decision?.comment ?? null,
    }),
    decidedBy: t.field({
      type: UserRef,
      nullable: true,
      description: 'Who decided, also where they are no member any more; null: nobody yet, or they are gone.',
      resolve: ({ decision }, _args, context, info) =>
        decision ? loadActor(context, info, encodeGlobalId('User', decision.userId)) : null,
    }),
  }),
});

export const ExecutionStepRef = builder.prismaObject('ExecutionStep', {
  description: 'A part of an execution that is done as one, and recorded.',
  fields: (t) => ({
    key: t.exposeString('key', { ...viewerIndependent, description: 'Its name, unique in the execution.' }),
    kind: t.exposeString('kind', {
      ...viewerIndependent,
      description: 'Of an agent: "turn", a question to its model; "tool", a call of a tool.',
    }),
    state: t.expose('state', { ...viewerIndependent, type: ExecutionStepStateRef, description: 'Where it stands.' }),
    attempt: t.exposeInt('attempt', {
      ...viewerIndependent,
      description: '1, 2, 3 …; 0: it was not begun, or there was nothing to do but wait.',
    }),
    dependsOn: t.exposeStringList('dependsOn', { ...viewerIndependent, description: 'Keys of the steps before it.' }),
    input: t.expose('input', {
      ...viewerIndependent,
      type: 'JSON',
      nullable: true,
      description: 'What it works with; of a tool: { tool, callId, arguments }.',
    }),
    output: t.expose('output', {
      ...viewerIndependent,
      type: 'JSON',
      nullable: true,
      description:
        'What came of it; of a turn: { text, toolCalls, value, isCut }, the last one true where maxTokens cut its answer off.',
    }),
    error: t.exposeString('error', {
      ...viewerIndependent,
      nullable: true,
      description: 'Why its last attempt failed, or why it was skipped, in words.',
    }),
    approval: t.field({
      ...viewerIndependent,
      type: ApprovalRef,
      nullable: true,
      description: 'What it asks, or asked, of people.',
      select: { approval: true },
      resolve: ({ approval }) => approval as Approval | null,
    }),
    wakeAt: t.expose('wakeAt', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description:
        'When what it waits for is over, or nobody waits any longer; or when it is tried again. Null: once something has happened.',
    }),
    startedAt: t.expose('startedAt', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description: 'When its last attempt began, or it began to wait.',
    }),
    finishedAt: t.expose('finishedAt', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description: 'When it ended.',
    }),
  }),
});
