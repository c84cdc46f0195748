import type { Privilege } from '../../compose/index.ts';
import type { Environment } from '../../db/generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { DeletedRef } from '../../graphql/error-types.ts';
import { batchedField, byId } from '../../graphql/field-batch.ts';
import { registerNode } from '../../graphql/nodes.ts';
import { connectionFor, pageArgs, pageComplexity, pageQuery } from '../../graphql/pagination.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { parsePage } from '../../shared/pagination.ts';
import { OrganizationRef, RuntimeKindRef } from '../organizations/schema.ts';

export const EnvironmentTypeRef = builder.enumType('EnvironmentType', {
  description: 'What an environment is for.',
  values: {
    DEVELOPMENT: { description: 'Developers deploy here.' },
    STAGING: { description: 'Developers deploy here.' },
    PRODUCTION: { description: 'Admins deploy here.' },
  },
});

const RUNTIME_CONFIG = `What the runtime needs to know, never readable again. PROCESS: nothing. DOCKER: { endpoint: "unix:///var/run/docker.sock" (the default, for superadmins), "tcp://host:2376" or "ssh://user@host", tls: { ca, cert, key } as PEM, sshKey as PEM, sshHostKeys: ["SHA256:…"], registries: { "registry.example.com": { username, password } } }.`;

export const ContainerPrivilegeRef = builder.enumType('ContainerPrivilege', {
  description: "What containers may do beyond their own walls: each is as good as being root on the engine's machine.",
  values: {
    PRIVILEGED: { value: 'privileged', description: '`privileged: true`, and other OCI runtimes or cgroup parents.' },
    HOST_NETWORK: { value: 'host-network', description: 'The network of the machine.' },
    HOST_NAMESPACES: { value: 'host-namespaces', description: 'Its processes, IPC, users or host name.' },
    HOST_PATHS: { value: 'host-paths', description: 'Its files.' },
    DOCKER_SOCKET: { value: 'docker-socket', description: "The engine's own socket." },
    CAPABILITIES: { value: 'capabilities', description: 'Capabilities that an engine does not give by itself.' },
    DEVICES: { value: 'devices', description: 'Devices of the machine.' },
    SECURITY_OPTIONS: { value: 'security-opt', description: 'Less confinement: AppArmor, seccomp, labels.' },
  } as const,
});

export const VariableRef = builder.prismaObject('Variable', {
  description: 'What the services of an environment are given.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'A letter or "_", then letters, digits and "_".' }),
    value: t.string({
      nullable: true,
      description: 'Null for a secret, always.',
      resolve: ({ isSecret, value }) => (isSecret ? null : value),
    }),
    isSecret: t.exposeBoolean('isSecret', {
      description: 'Whether it is stored encrypted, masked in logs and never readable.',
    }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When it was last set.' }),
  }),
});

export const EnvironmentRef = builder.prismaNode('Environment', {
  description: 'Where stacks run, with variables of its own.',
  id: { ...viewerIndependent, field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    name: t.exposeString('name', { ...viewerIndependent, description: '1–100 characters.' }),
    slug: t.exposeString('slug', {
      ...viewerIndependent,
      description: 'Short name, unique in the organization: 2–50 of a–z, 0–9 and "-".',
    }),
    type: t.expose('type', { ...viewerIndependent, type: EnvironmentTypeRef, description: 'Decides who may deploy.' }),
    runtime: t.expose('runtime', {
      type: RuntimeKindRef,
      description: 'What carries its services out; fixed at creation.',
    }),
    privileges: t.field({
      select: { privileges: true },
      type: [ContainerPrivilegeRef],
      resolve: ({ privileges }) => privileges as Privilege[],
      description: 'What its containers may do beyond their own walls. PROCESS: has no meaning, and is empty.',
    }),
    organization: t.relation('organization', { description: 'Whose it is.' }),
    variables: t.relation('variables', {
      description: 'Its variables by name, 500 at most.',
      query: { orderBy: { name: 'asc' } },
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was created.' }),
  }),
});
registerNode('Environment', async ({ services, caller }, ids) =>
  byId(await services.environments.findMany(caller, ids)),
);

builder.queryField('environment', (t) =>
  t.prismaField({
    type: EnvironmentRef,
    nullable: true,
    description: 'One environment; null where there is none that the caller may see.',
    args: { id: t.arg.id({ required: true, description: 'Its global ID.' }) },
    resolve: (query, _root, args, { services, caller }) => {
      const id = decodeIdOf('Environment', args.id);
      return id === null ? null : services.environments.find(caller, id, query);
    },
  }),
);

builder.objectField(OrganizationRef, 'environments', (t) =>
  t.field({
    type: connectionFor<Environment>(EnvironmentRef),
    nullable: true,
    description: 'Its environments, the oldest first.',
    args: pageArgs(),
    complexity: pageComplexity,
    resolve: ({ id }, args, context, info) => {
      const page = parsePage(args);
      return batchedField(context, info, id, id, (ids: string[]) =>
        context.services.environments.pages(context.caller, ids, page, pageQuery(context, info)),
      );
    },
  }),
);

const EnvironmentCreateInput = builder.inputType('EnvironmentCreateInput', {
  description: 'A new environment.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Whose it will be.' }),
    name: t.string({ required: true, description: '1–100 characters.' }),
    slug: t.string({
      description: '2–50 of a–z, 0–9 and "-", unique in the organization; absent: made from the name.',
    }),
    type: t.field({ type: EnvironmentTypeRef, defaultValue: 'DEVELOPMENT', description: 'What it is for.' }),
    runtime: t.field({
      type: RuntimeKindRef,
      defaultValue: 'PROCESS',
      description: 'One that the organization may use, and that this installation supports: PROCESS or DOCKER.',
    }),
    runtimeConfig: t.field({
      type: 'JSON',
      description: RUNTIME_CONFIG,
    }),
    idempotencyKey: t.string({ description: 'Up to 128 characters: the same key and input create once in 24 hours.' }),
  }),
});
const EnvironmentUpdateInput = builder.inputType('EnvironmentUpdateInput', {
  description: 'What changes; absent fields stay.',
  fields: (t) => ({
    environmentId: t.id({ required: true, description: 'Its global ID.' }),
    name: t.string({ description: '1–100 characters.' }),
    runtimeConfig: t.field({ type: 'JSON', description: 'In place of the former one, as a whole.' }),
    privileges: t.field({
      type: [ContainerPrivilegeRef],
      description:
        "What its containers may do beyond their own walls, all of it. For owners; on an engine of the server's own machine for superadmins.",
    }),
  }),
});
const EnvironmentDeleteInput = builder.inputType('EnvironmentDeleteInput', {
  description: 'What is deleted.',
  fields: (t) => ({ environmentId: t.id({ required: true, description: 'Its global ID.' }) }),
});
const EnvironmentVariableSetInput = builder.inputType('EnvironmentVariableSetInput', {
  description: 'A variable and its value.',
  fields: (t) => ({
    environmentId: t.id({ required: true, description: 'Where.' }),
    name: t.string({ required: true, description: 'A letter or "_", then letters, digits and "_".' }),
    value: t.string({
      required: true,
      description:
        'Any text without NUL, up to 64 KiB of UTF-8; at least 8 bytes for a secret. Newlines and "=" are fine.',
    }),
    isSecret: t.boolean({
      description:
        'Absent: what it was, and no secret when it is new. Only an explicit false makes a secret readable, with the value given here.',
    }),
  }),
});
const EnvironmentVariableDeleteInput = builder.inputType('EnvironmentVariableDeleteInput', {
  description: 'A variable that goes.',
  fields: (t) => ({
    environmentId: t.id({ required: true, description: 'Where.' }),
    name: t.string({ required: true, description: 'Its name.' }),
  }),
});

const idOf = (globalId: string) => decodeIdOf('Environment', globalId);

builder.mutationFields((t) => ({
  environmentCreate: t.field({
    type: EnvironmentRef,
    nullable: true,
    description: 'Creates an environment. For admins. ConflictError: the slug is taken.',
    errors: { types: [ValidationError, ConflictError, NotFoundError, QuotaExceededError] },
    args: { input: t.arg({ type: EnvironmentCreateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) => {
      const organizationId = decodeIdOf('Organization', input.organizationId);
      return services.environments.create(caller, { ...input, organizationId });
    },
  }),
  environmentUpdate: t.field({
    type: EnvironmentRef,
    nullable: true,
    description: 'Changes an environment. For admins.',
    errors: { types: [ValidationError, ConflictError, NotFoundError] },
    args: { input: t.arg({ type: EnvironmentUpdateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.environments.update(caller, { ...input, environmentId: idOf(input.environmentId) }),
  }),
  environmentDelete: t.field({
    type: DeletedRef,
    nullable: true,
    description:
      'Deletes an environment with its deployments and logs. For admins. ConflictError: something runs in it.',
    errors: { types: [ConflictError, NotFoundError] },
    args: { input: t.arg({ type: EnvironmentDeleteInput, required: true }) },
    resolve: async (_root, { input: { environmentId: id } }, { services, caller }) => {
      await services.environments.remove(caller, idOf(id));
      return { id };
    },
  }),
  environmentVariableSet: t.field({
    type: EnvironmentRef,
    nullable: true,
    description: 'Sets a variable for later deployments; what runs keeps what it was started with. For admins.',
    errors: { types: [ValidationError, NotFoundError] },
    args: { input: t.arg({ type: EnvironmentVariableSetInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.environments.setVariable(caller, { ...input, environmentId: idOf(input.environmentId) }),
  }),
  environmentVariableDelete: t.field({
    type: EnvironmentRef,
    nullable: true,
    description:
      "Deletes a variable and, of a secret, every value that it had: releases that need one can't run again. For admins.",
    errors: { types: [NotFoundError] },
    args: { input: t.arg({ type: EnvironmentVariableDeleteInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.environments.deleteVariable(caller, { name: input.name, environmentId: idOf(input.environmentId) }),
  }),
}));
