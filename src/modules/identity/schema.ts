import { getTypeBrand } from '@pothos/core';
import type { GraphQLResolveInfo } from 'graphql';
import type { Session, User } from '../../db/generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import type { GraphQLContext } from '../../graphql/context.ts';
import { DeletedRef } from '../../graphql/error-types.ts';
import { batchedField } from '../../graphql/field-batch.ts';
import { nodesById, registerNode } from '../../graphql/nodes.ts';
import { connectionFor, pageArgs, pageComplexity } from '../../graphql/pagination.ts';
import {
  ConflictError,
  InvalidCredentialsError,
  NotFoundError,
  RegistrationClosedError,
  ValidationError,
} from '../../shared/errors.ts';
import { decodeIdOf, encodeGlobalId } from '../../shared/global-id.ts';
import { parsePage } from '../../shared/pagination.ts';
import type { AuthSession } from './service.ts';

const byId = <Row extends { id: string }>(rows: Row[]) => new Map(rows.map((row) => [row.id, row]));
const clientOf = ({ ip, userAgent }: GraphQLContext) => ({ ip, userAgent });

/** Users in the answer to their own login, whose request has no caller yet. */
const justLoggedIn = new WeakSet<User>();

export const UserRef = builder.prismaNode('User', {
  description: 'A person, as others see them.',
  id: { field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    username: t.exposeString('username', { description: '3–50 characters, unique without regard to case.' }),
    email: t.string({
      nullable: true,
      description: 'Only to oneself, to admins of a shared organization and to a superadmin; null to others.',
      resolve: async (user, _args, context, info) => {
        if (justLoggedIn.has(user)) return user.email;
        if (!context.caller) return null;
        const readable = await batchedField(context, info, user.id, user.id, async (ids: string[]) => {
          const found = await context.services.identity.readableEmails(context.caller, ids);
          return new Map([...found].map((id) => [id, true]));
        });
        return readable ? user.email : null;
      },
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When the account was made.' }),
  }),
});
registerNode('User', async (context, ids) => byId(await context.services.identity.findUsers(context.caller, ids)));

export const ActorRef = builder.unionType('Actor', {
  description: 'Who did it: a person, or an agent or a workflow in the name of one.',
  // Of modules that know this one: by their names.
  types: [UserRef, 'Agent' as never, 'Workflow' as never],
  resolveType: (actor) => (getTypeBrand(actor) ?? 'User') as 'User',
});

/** Who did something, by their global ID; null: they are gone, or the viewer may not see them. */
export function loadActor(context: GraphQLContext, info: GraphQLResolveInfo, globalId: string) {
  const load = (ids: string[]) => actorsById(context, ids);
  return batchedField(context, info, globalId, globalId, load) as Promise<never>;
}

/** Users also where they are members no more: what they did stays theirs. */
async function actorsById(context: GraphQLContext, globalIds: string[]): Promise<Map<string, object>> {
  const [users, others] = [true, false].map((isUser) =>
    globalIds.filter((id) => (decodeIdOf('User', id) !== null) === isUser),
  ) as [string[], string[]];
  const found =
    users.length > 0 ? await context.services.identity.findActors(users.map((id) => decodeIdOf('User', id)!)) : [];
  return new Map([
    ...found.map((user) => [encodeGlobalId('User', user.id), user] as const),
    ...(await nodesById(context, others)),
  ]);
}

const SessionRef = builder.prismaNode('Session', {
  description: 'A login on one device or program.',
  id: { field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    userAgent: t.exposeString('userAgent', { nullable: true, description: 'What the client calls itself.' }),
    ipAddress: t.exposeString('ipAddress', { nullable: true, description: 'From where it was last used.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it logged in.' }),
    lastUsedAt: t.expose('lastUsedAt', { type: 'DateTime', description: 'When it last got a new access token.' }),
    expiresAt: t.expose('expiresAt', { type: 'DateTime', description: 'When it ends unless it is used before.' }),
    isCurrent: t.boolean({
      description: 'Whether this request belongs to it.',
      resolve: (session, _args, context) => session.id === context.caller?.sessionId,
    }),
  }),
});
registerNode('Session', async (context, ids) =>
  byId(await context.services.identity.findSessions(context.caller, ids)),
);

/** The viewer's user row. Other modules add what belongs to the viewer. */
export const ViewerRef = builder.objectRef<User>('Viewer').implement({
  description: 'The user of this request.',
  fields: (t) => ({
    user: t.field({ type: UserRef, description: 'As others see them.', resolve: (viewer) => viewer }),
    isSuperadmin: t.exposeBoolean('isSuperadmin', { description: "Whether this is the installation's first user." }),
    lastLoginAt: t.expose('lastLoginAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The login before or of this session.',
    }),
    sessions: t.field({
      type: connectionFor<Session>(SessionRef),
      nullable: true,
      description: "The viewer's live sessions, the newest first.",
      args: { ...pageArgs() },
      complexity: pageComplexity,
      resolve: (_viewer, args, context) => context.services.identity.sessionPage(context.caller, parsePage(args)),
    }),
  }),
});

builder.queryField('viewer', (t) =>
  t.field({
    type: ViewerRef,
    nullable: true,
    skipTypeScopes: true,
    description: 'The user of this request; null without a token.',
    resolve: (_root, _args, context) => {
      if (context.authenticationError) throw context.authenticationError;
      return context.caller && context.services.identity.findViewer(context.caller);
    },
  }),
);

const AuthSessionRef = builder.objectRef<AuthSession>('AuthSession').implement({
  description: 'What a client needs to go on: one token for requests, one to get the next pair.',
  fields: (t) => ({
    accessToken: t.exposeString('accessToken', {
      description: 'A JWT (EdDSA), for 15 minutes: send it as "Authorization: Bearer …".',
    }),
    refreshToken: t.exposeString('refreshToken', {
      description:
        'Opaque, for one use of authRefresh. Used again within 10 s it gives the same successor; used again later it ends the session.',
    }),
    tokenType: t.string({ description: '"bearer".', resolve: () => 'bearer' }),
    expiresInSeconds: t.exposeInt('expiresInSeconds', { description: 'How long the access token is good.' }),
    refreshExpiresAt: t.expose('refreshExpiresAt', {
      type: 'DateTime',
      description:
        'When the session ends unless it is used before: 24 hours after its last use, 30 days with rememberMe.',
    }),
    user: t.field({
      type: UserRef,
      description: 'Who logged in.',
      resolve: ({ user }) => {
        justLoggedIn.add(user);
        return user;
      },
    }),
  }),
});

const LoggedOutRef = builder.objectRef<{ sessions: number }>('LoggedOut').implement({
  description: 'The result of a logout.',
  fields: (t) => ({ sessions: t.exposeInt('sessions', { description: 'How many sessions it ended.' }) }),
});

const AuthRegisterInput = builder.inputType('AuthRegisterInput', {
  description: 'A new user.',
  fields: (t) => ({
    username: t.string({
      required: true,
      description: '3–50 characters: letters, digits, ".", "_", "-"; unique without regard to case.',
    }),
    email: t.string({ required: true, description: 'Unique without regard to case.' }),
    password: t.string({ required: true, description: '8–128 characters.' }),
    invitationToken: t.string({ description: 'Joins the organization that invited this e-mail.' }),
    setupToken: t.string({
      description:
        'Printed at the first start; needed for the first user where the server listens beyond its own machine.',
    }),
  }),
});
const AuthLoginInput = builder.inputType('AuthLoginInput', {
  description: 'Who logs in.',
  fields: (t) => ({
    username: t.string({ required: true, description: 'User name or e-mail.' }),
    password: t.string({ required: true, description: 'The password.' }),
    rememberMe: t.boolean({
      defaultValue: false,
      description: 'Whether the session lives 30 days after its last use instead of 24 hours.',
    }),
  }),
});
const AuthRefreshInput = builder.inputType('AuthRefreshInput', {
  description: 'What is exchanged.',
  fields: (t) => ({ refreshToken: t.string({ required: true, description: 'The latest one.' }) }),
});
const AuthLogoutInput = builder.inputType('AuthLogoutInput', {
  description: 'What ends.',
  fields: (t) => ({
    everywhere: t.boolean({ defaultValue: false, description: "Whether all of the user's sessions end." }),
  }),
});
const SessionRevokeInput = builder.inputType('SessionRevokeInput', {
  description: 'What ends.',
  fields: (t) => ({ sessionId: t.id({ required: true, description: "One of the caller's sessions." }) }),
});

builder.mutationFields((t) => ({
  authRegister: t.field({
    type: AuthSessionRef,
    nullable: true,
    skipTypeScopes: true,
    description:
      "Makes a user and logs in. The installation's first user becomes its superadmin. An Authorization header is ignored. NotFoundError: no such invitation.",
    errors: { types: [ValidationError, ConflictError, RegistrationClosedError, NotFoundError] },
    args: { input: t.arg({ type: AuthRegisterInput, required: true }) },
    resolve: (_root, { input }, context) => context.services.identity.register(input, clientOf(context)),
  }),
  authLogin: t.field({
    type: AuthSessionRef,
    nullable: true,
    skipTypeScopes: true,
    description:
      'Opens a session. Failed logins are counted: too many are RATE_LIMITED for a while. An Authorization header is ignored.',
    errors: { types: [InvalidCredentialsError] },
    args: { input: t.arg({ type: AuthLoginInput, required: true }) },
    resolve: (_root, { input }, context) => context.services.identity.login(input, clientOf(context)),
  }),
  authRefresh: t.field({
    type: AuthSessionRef,
    nullable: true,
    skipTypeScopes: true,
    description: 'Exchanges a refresh token for a new pair. An Authorization header is ignored.',
    errors: { types: [InvalidCredentialsError] },
    args: { input: t.arg({ type: AuthRefreshInput, required: true }) },
    resolve: (_root, { input }, context) => context.services.identity.refresh(input.refreshToken, clientOf(context)),
  }),
  authLogout: t.field({
    type: LoggedOutRef,
    nullable: true,
    skipTypeScopes: true,
    description:
      'Ends the session of the access token that came with the request, or all of its user. Without a token, or with one that is no good, nothing ends and there is no error; one that has merely expired will do.',
    errors: { types: [] },
    args: { input: t.arg({ type: AuthLogoutInput, required: true }) },
    resolve: async (_root, { input }, context) => ({
      sessions: await context.services.identity.logout(context.bearerToken, input.everywhere ?? false),
    }),
  }),
  sessionRevoke: t.field({
    type: DeletedRef,
    nullable: true,
    description: "Ends one of the caller's sessions: its tokens and sockets with it, within 5 s.",
    errors: { types: [NotFoundError] },
    args: { input: t.arg({ type: SessionRevokeInput, required: true }) },
    resolve: async (_root, { input }, context) => {
      const id = decodeIdOf('Session', input.sessionId);
      await context.services.identity.revokeSession(context.caller, id);
      return { id: encodeGlobalId('Session', id!) };
    },
  }),
}));
