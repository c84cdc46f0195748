import type { BenchServer } from './server.ts';

/** An organization with one environment, and the user logged in. `runtime`: another one than that of every environment. */
export async function prepareTenant(
  server: BenchServer,
  runtime: object = {},
): Promise<{ organizationId: string; environmentId: string }> {
  const { authRegister } = await server.ask<{ authRegister: { accessToken: string } }>(
    'mutation ($input: AuthRegisterInput!) { authRegister(input: $input) { ... on AuthSession { accessToken } ... on Error { message } } }',
    { input: { username: 'bench', email: 'bench@example.org', password: 'bench-password' } },
  );
  server.login(authRegister.accessToken);
  const { organizationCreate } = await server.ask<{ organizationCreate: { id: string } }>(
    'mutation ($input: OrganizationCreateInput!) { organizationCreate(input: $input) { ... on Organization { id } } }',
    { input: { name: 'Bench' } },
  );
  const { environmentCreate } = await server.ask<{ environmentCreate: { id: string } }>(
    'mutation ($input: EnvironmentCreateInput!) { environmentCreate(input: $input) { ... on Environment { id } } }',
    { input: { organizationId: organizationCreate.id, name: 'bench', ...runtime } },
  );
  return { organizationId: organizationCreate.id, environmentId: environmentCreate.id };
}

export async function createStack(
  server: BenchServer,
  organizationId: string,
  name: string,
  compose: string,
): Promise<string> {
  const { stackCreate } = await server.ask<{ stackCreate: { id?: string; message?: string } }>(
    'mutation ($input: StackCreateInput!) { stackCreate(input: $input) { ... on Stack { id } ... on Error { message } } }',
    { input: { organizationId, name, compose } },
  );
  if (!stackCreate.id) throw new Error(stackCreate.message);
  return stackCreate.id;
}

export async function changeStack(server: BenchServer, stackId: string, compose: string): Promise<void> {
  const { stackUpdate } = await server.ask<{ stackUpdate: { id?: string; message?: string } }>(
    'mutation ($input: StackUpdateInput!) { stackUpdate(input: $input) { ... on Stack { id } ... on Error { message } } }',
    { input: { stackId, compose } },
  );
  if (!stackUpdate.id) throw new Error(stackUpdate.message);
}

/** One whose deployments have ended; what is left of it goes a little later. */
export async function deleteStack(server: BenchServer, stackId: string): Promise<void> {
  const { stackDelete } = await server.ask<{ stackDelete: { message?: string } }>(
    'mutation ($input: StackDeleteInput!) { stackDelete(input: $input) { ... on Error { message } } }',
    { input: { stackId } },
  );
  if (stackDelete.message) throw new Error(stackDelete.message);
}

/** Requests a deployment and follows it; resolves with its id and the milliseconds from the request to RUNNING. */
export async function deploy(
  server: BenchServer,
  stackId: string,
  environmentId: string,
  input: object = {},
): Promise<{ id: string; ms: number }> {
  const begun = performance.now();
  const { deploymentCreate } = await server.ask<{ deploymentCreate: { id: string } }>(
    'mutation ($input: DeploymentCreateInput!) { deploymentCreate(input: $input) { ... on Deployment { id } } }',
    { input: { stackId, environmentId, ...input } },
  );
  const { id } = deploymentCreate;
  const changes = server.follow<{ deploymentStatus: { status: string; statusReason: string | null } }>(
    'subscription ($id: ID!) { deploymentStatus(deploymentId: $id) { status statusReason } }',
    { id },
  );
  for await (const { deploymentStatus } of changes) {
    if (deploymentStatus.status === 'RUNNING') return { id, ms: performance.now() - begun };
    if (deploymentStatus.status === 'FAILED') throw new Error(deploymentStatus.statusReason ?? 'failed');
  }
  throw new Error('the deployment ended before it ran');
}

export async function stop(server: BenchServer, deploymentId: string): Promise<void> {
  await server.ask(
    'mutation ($input: DeploymentStopInput!) { deploymentStop(input: $input) { ... on Deployment { id } } }',
    {
      input: { deploymentId },
    },
  );
  const changes = server.follow<{ deploymentStatus: { status: string } }>(
    'subscription ($id: ID!) { deploymentStatus(deploymentId: $id) { status } }',
    { id: deploymentId },
  );
  for await (const { deploymentStatus } of changes) if (deploymentStatus.status === 'STOPPED') return;
}
