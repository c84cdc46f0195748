import type { ObjectRef } from '@pothos/core';
import type { Execution, ExecutionStep } from '../../db/generated/prisma/client.ts';
import { builder, type SchemaTypes } from '../../graphql/builder.ts';
import { batchedField, byId } from '../../graphql/field-batch.ts';
import { registerNode } from '../../graphql/nodes.ts';
import { connectionFor, pageArgs, pageComplexity, pageQuery } from '../../graphql/pagination.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { decodeIdOf, encodeGlobalId, optionalId } from '../../shared/global-id.ts';
import { parsePage } from '../../shared/pagination.ts';
import { ActorRef, loadActor } from '../identity/schema.ts';
import { BY_PEOPLE } from './principals.ts';
import { ExecutionStepRef, ExecutionStepStateRef } from './steps-schema.ts';

export const ExecutionKindRef = builder.enumType('ExecutionKind', {
  description: 'What is carried out.',
  values: {
    AGENT: { description: 'An agent, which is asked and uses tools until it has an answer.' },
    WORKFLOW: { description: 'The steps of a workflow.' },
    SQUAD: { description: 'Several agents with one task.' },
  },
});
const ExecutionTriggerRef = builder.enumType('ExecutionTrigger', {
  description: 'What began an execution.',
  values: {
    MANUAL: { description: 'A person.' },
    RETRY: { description: 'A person, to repeat another one.' },
    WORKFLOW: { description: 'A step of another execution: see parent.' },
    SCHEDULE: { description: 'A time.' },
    EVENT: { description: 'An event.' },
    WEBHOOK: { description: 'A request from outside.' },
  },
});
export const ExecutionStatusRef = builder.enumType('ExecutionStatus', {
  description: 'Where an execution stands; the last three are final.',
  values: {
    QUEUED: { description: 'It waits for its turn.' },
    RUNNING: { description: 'It is being worked on.' },
    WAITING: { description: 'For an approval, a timer or an event: nobody works on it.' },
    CANCELLING: { description: 'What is under way of it is being stopped.' },
    COMPLETED: { description: 'It has ended as it should.' },
    FAILED: { description: 'It has ended otherwise; statusReason says why.' },
    CANCELLED: { description: 'It was taken back.' },
  },
});
type Usage = { inputTokens: number; outputTokens: number };
const ExecutionUsageRef = builder.objectRef<Usage>('ExecutionUsage').implement({
  description: 'What models were given and wrote, in tokens as their provider counts them.',
  fields: (t) => ({
    inputTokens: t.exposeInt('inputTokens', { ...viewerIndependent, description: 'What they read.' }),
    outputTokens: t.exposeInt('outputTokens', { ...viewerIndependent, description: 'What they wrote.' }),
  }),
});

export const ExecutionRef = builder.prismaNode('Execution', {
  description: 'Something that runs, or ran: one ledger for agents, workflows and squads.',
  id: { ...viewerIndependent, field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    revision: t.exposeInt('revision', { ...viewerIndependent, description: 'Grows with every change of it.' }),
    kind: t.expose('kind', { ...viewerIndependent, type: ExecutionKindRef, description: 'What is carried out.' }),
    status: t.expose('status', { ...viewerIndependent, type: ExecutionStatusRef, description: 'Where it stands.' }),
    statusReason: t.exposeString('statusReason', {
      ...viewerIndependent,
      nullable: true,
      description: 'Why it stands there, in words, where there is something to say.',
    }),
    trigger: t.expose('trigger', { ...viewerIndependent, type: ExecutionTriggerRef, description: 'What began it.' }),
    organization: t.relation('organization', { description: 'Whose it is.' }),
    parent: t.relation('parent', { nullable: true, description: 'The execution that began it; null: a person did.' }),
    retryOf: t.relation('retryOf', { nullable: true, description: 'The execution that it repeats.' }),
    continues: t.relation('continues', {
      nullable: true,
      description: 'The execution whose conversation it goes on with.',
    }),
    input: t.expose('input', { ...viewerIndependent, type: 'JSON', nullable: true, description: 'What it was given.' }),
    output: t.expose('output', {
      ...viewerIndependent,
      type: 'JSON',
      nullable: true,
      description:
        'What came of it; of an agent: its last text, or a value where its configuration has an outputSchema.',
    }),
    definition: t.field({
      ...viewerIndependent,
      type: 'JSON',
      description:
        'What it carries out, as that was when it began: of an agent { name, model, systemPrompt, configuration }, of a workflow its name and that version.',
      select: { definition: true },
      resolve: ({ definition }) => {
        const { makerId: _, ...told } = definition as Record<string, unknown>;
        return told;
      },
    }),
    steps: t.field({
      ...viewerIndependent,
      type: connectionFor<ExecutionStep>(ExecutionStepRef),
      nullable: true,
      description: 'Its steps, in the order in which they came to be.',
      args: {
        state: t.arg({ type: [ExecutionStepStateRef], description: 'Only those in one of these.' }),
        ...pageArgs(),
      },
      complexity: pageComplexity,
      resolve: ({ id }, { state, ...args }, context, info) => {
        const page = parsePage(args);
        return batchedField(context, info, id, id, (ids: string[]) =>
          context.services.executions.stepPages(ids, { state, page, query: pageQuery(context, info) }),
        );
      },
    }),
    usage: t.field({
      ...viewerIndependent,
      type: ExecutionUsageRef,
      nullable: true,
      description: 'What models used for it so far.',
      select: { inputTokens: true, outputTokens: true },
      resolve: ({ inputTokens, outputTokens }) => ({ inputTokens, outputTokens }),
    }),
    createdBy: t.field({
      type: ActorRef,
      nullable: true,
      description:
        'Who began it: a person, the workflow whose step it is, or the workflow itself by one of its triggers; null where they are gone.',
      select: { createdBy: true, workflowId: true, trigger: true, parent: { select: { workflowId: true } } },
      resolve: ({ createdBy, workflowId, trigger, parent }, _args, context, info) => {
        if (BY_PEOPLE.includes(trigger)) return createdBy;
        const id = trigger === 'WORKFLOW' ? parent?.workflowId : workflowId;
        return id == null ? null : loadActor(context, info, encodeGlobalId('Workflow', id));
      },
    }),
    createdAt: t.expose('createdAt', { ...viewerIndependent, type: 'DateTime', description: 'When it was asked for.' }),
    startedAt: t.expose('startedAt', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description: 'When work on it began.',
    }),
    finishedAt: t.expose('finishedAt', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description: 'When it ended.',
    }),
  }),
});
registerNode('Execution', async ({ services, caller }, ids) => byId(await services.executions.findMany(caller, ids)));

/** Gives what executions carry out the field `executions`. */
export function addExecutions(ref: ObjectRef<SchemaTypes, { id: string }>, of: 'agent' | 'workflow'): void {
  builder.objectField(ref, 'executions', (t) =>
    t.field({
      type: connectionFor<Execution>(ExecutionRef),
      nullable: true,
      description: 'Its executions, the newest first.',
      args: {
        status: t.arg({ type: [ExecutionStatusRef], description: 'Only those with one of these.' }),
        ...pageArgs(),
      },
      complexity: pageComplexity,
      resolve: ({ id }, { status, ...args }, context, info) => {
        const page = parsePage(args);
        return batchedField(context, info, id, id, (ids: string[]) => {
          const query = pageQuery(context, info);
          return context.services.executions.pages(context.caller, of, ids, { filter: { status }, page, query });
        });
      },
    }),
  );
}

builder.queryFields((t) => ({
  execution: t.prismaField({
    type: ExecutionRef,
    nullable: true,
    description: 'One execution; null where there is none that the caller may see.',
    args: { id: t.arg.id({ required: true, description: 'Its global ID.' }) },
    resolve: (query, _root, args, { services, caller }) => {
      const id = decodeIdOf('Execution', args.id);
      return id === null ? null : services.executions.find(caller, id, query);
    },
  }),
  executions: t.field({
    type: connectionFor<Execution>(ExecutionRef),
    nullable: true,
    description: 'An organization’s executions, the newest first; null where the caller may not see any.',
    args: {
      organizationId: t.arg.id({ required: true, description: 'Whose.' }),
      kind: t.arg({ type: ExecutionKindRef, description: 'Only these.' }),
      status: t.arg({ type: [ExecutionStatusRef], description: 'Only those with one of these.' }),
      agentId: t.arg.id({ description: 'Only those of this agent.' }),
      workflowId: t.arg.id({ description: 'Only those of this workflow.' }),
      createdById: t.arg.id({ description: 'Only those that this user began.' }),
      parentId: t.arg.id({ description: 'Only those that steps of this execution began.' }),
      ...pageArgs(),
    },
    complexity: pageComplexity,
    resolve: async (
      _root,
      { organizationId, kind, status, agentId, workflowId, createdById, parentId, ...args },
      context,
      info,
    ) => {
      const id = decodeIdOf('Organization', organizationId);
      const filter = {
        ...{ kind, status },
        agentId: optionalId('Agent', agentId),
        workflowId: optionalId('Workflow', workflowId),
        createdById: optionalId('User', createdById),
        parentId: optionalId('Execution', parentId),
      };
      const request = { filter, page: parsePage(args), query: pageQuery(context, info) };
      if (id === null) return null;
      const pages = await context.services.executions.pages(context.caller, 'organization', [id], request);
      return pages.get(id) ?? null;
    },
  }),
}));
