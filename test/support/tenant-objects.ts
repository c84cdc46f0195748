import { decodeGlobalId, encodeGlobalId } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import type { Registered } from './api.ts';
import type { TestApp } from './app.ts';
import type { TestDatabase } from './database.ts';
import { Deployer } from './deployer.ts';

export const COMPOSE = 'services: { web: { command: [sleep, "1000"] } }';

/** One object of every type that has a global ID, by type: all of one tenant. */
export type TenantObjects = Record<string, string> & {
  /** Beside `Deployment`, which is live: what it took the place of. */
  FormerDeployment: string;
};

/**
 * A new organization of the user with one object of each kind. Nobody works on its host: its deployment is only said to be live, and its
 * execution waits for its turn.
 */
export async function createTenantObjects(
  app: TestApp,
  superadmin: Deployer,
  owner: Registered,
): Promise<TenantObjects> {
  const { prisma, pool } = app.database;
  const nobody = new Deployer(app, owner.accessToken, '', '');
  const { id: organizationId } = await nobody.mutate('organizationCreate', 'Organization { id }', { name: 'Objects' });
  const runtimes = { organizationId, allowedRuntimes: ['PROCESS'] };
  await superadmin.mutate('organizationRuntimesUpdate', 'Organization { id }', runtimes);
  const outside = new Deployer(app, owner.accessToken, organizationId, '');
  const environment = await outside.newEnvironment('dev');
  const inside = outside.as(owner.accessToken, environment.id);
  const stackId = await inside.newStack(COMPOSE);
  const former = await inside.begin(stackId);
  const live = await inside.begin(stackId);
  const { stack } = await inside.ask('query ($id: ID!) { stack(id: $id) { currentVersion { id } } }', { id: stackId });
  const uuidOf = (globalId: string) => decodeGlobalId(globalId)!.id;
  const [formerId, liveId, release] = [uuidOf(former.id), uuidOf(live.id), newId()];
  const nothing = { specs: '', secrets: {}, ports: {}, configHashes: {} };
  await prisma.release.create({ data: { id: release, stackVersionId: uuidOf(stack.currentVersion.id), ...nothing } });
  await pool.query(
    `update deployments set live_at = now(), status = case when id = $1 then 'SUPERSEDED' else 'RUNNING' end::"DeploymentStatus",
            finished_at = case when id = $1 then now() end, release_id = case when id = $1 then $3::uuid end
     where id in ($1, $2)`,
    [formerId, liveId, release],
  );
  await pool.query(
    'update stack_environments set live_deployment_id = $1 where id = (select stack_environment_id from deployments where id = $1)',
    [liveId],
  );
  await inside.setVariable('KNOWN', '1');
  const invitation = await inside.mutate('organizationInvite', 'InvitationCreated { invitation { id } }', {
    organizationId,
    email: 'guest@example.com',
  });
  const template = await inside.mutate('agentTemplateCreate', 'AgentTemplate { id }', {
    organizationId,
    slug: 'reviewer',
    name: 'Reviewer',
    type: 'reviewer',
    definition: { systemPrompt: 'Review what is deployed.' },
  });
  const agent = await inside.mutate('agentCreate', 'Agent { id }', {
    organizationId,
    name: 'reviewer',
    templateSlug: 'reviewer',
    model: 'builtin/echo',
  });
  const workflow = await inside.mutate('workflowCreate', 'Workflow { id }', {
    organizationId,
    name: 'flow',
    definition: { triggers: [{ kind: 'webhook' }], steps: { pause: { kind: 'delay', seconds: 1 } } },
  });
  await inside.mutate('workflowRun', 'Execution { id }', { workflowId: workflow.id });
  const execution = await inside.mutate('agentExecute', 'Execution { id }', { agentId: agent.id, input: 'hello' });
  const { channel } = await inside.mutate(
    'notificationChannelCreate',
    'NotificationChannelCreated { channel { id } }',
    {
      organizationId,
      name: 'nowhere',
      configuration: { webhook: { url: 'http://127.0.0.1:9/' } },
    },
  );
  const delivery = newId();
  const failed = { key: delivery, status: 'FAILED' as const, eventType: 'notification.message', message: 'hello' };
  await prisma.notificationDelivery.create({ data: { id: delivery, channelId: uuidOf(channel.id), ...failed } });
  const [user, member, session, plan] = [newId(), newId(), newId(), newId()];
  const name = `member-${user}`;
  await prisma.user.create({
    data: { id: user, username: name, usernameKey: name, email: name, emailKey: name, passwordHash: '-' },
  });
  await prisma.organizationMember.create({
    data: { id: member, organizationId: uuidOf(organizationId), userId: user, role: 'VIEWER' },
  });
  const told = await pool.query<{ id: string }>(
    'select id from events where organization_id = $1 order by sequence limit 1',
    [uuidOf(organizationId)],
  );
  const tomorrow = new Date(Date.now() + 86_400_000);
  await prisma.session.create({ data: { id: session, userId: uuidOf(owner.userId), expiresAt: tomorrow } });
  await prisma.deploymentPlan.create({
    data: {
      id: plan,
      organizationId: uuidOf(organizationId),
      stackId: uuidOf(stackId),
      stackVersionId: uuidOf(stack.currentVersion.id),
      environmentId: uuidOf(environment.id),
      strategy: 'RECREATE',
      digest: 'none',
      changes: [],
      findings: [],
      expiresAt: tomorrow,
    },
  });
  return {
    Organization: organizationId,
    OrganizationMember: encodeGlobalId('OrganizationMember', member),
    Invitation: invitation.invitation.id,
    User: encodeGlobalId('User', user),
    Session: encodeGlobalId('Session', session),
    Environment: environment.id,
    Stack: stackId,
    StackVersion: stack.currentVersion.id,
    Deployment: live.id,
    FormerDeployment: former.id,
    DeploymentPlan: encodeGlobalId('DeploymentPlan', plan),
    AgentTemplate: template.id,
    Agent: agent.id,
    Execution: execution.id,
    Workflow: workflow.id,
    NotificationChannel: channel.id,
    NotificationDelivery: encodeGlobalId('NotificationDelivery', delivery),
    Event: encodeGlobalId('Event', told.rows[0]!.id),
  };
}

/** Every row of every table that names one of these objects, as text. */
export async function rowsAbout({ pool }: TestDatabase, globalIds: readonly string[]): Promise<string[]> {
  const tables = await pool.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition`,
  );
  const all = tables.rows.map(({ name }) => `select '${name} ' || to_jsonb(x)::text as row from "${name}" x`);
  const { rows } = await pool.query<{ row: string }>(
    `select row from (${all.join(' union all ')}) as every where row like any($1) order by row`,
    [globalIds.map((id) => `%${decodeGlobalId(id)!.id}%`)],
  );
  return rows.map(({ row }) => row);
}
