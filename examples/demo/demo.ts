// `npm run demo`: a deployment, a broken one and its undoing, a plan, a rollback and a workflow, through the public API alone.
import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import {
  CancelDeploymentDocument,
  CreateEnvironmentDocument,
  CreateOrganizationDocument,
  CreateStackDocument,
  type DeploymentStateFragment,
  StopDeploymentDocument,
} from '../../schema/generated/graphql.ts';
import { openAccount } from './account.ts';
import { type ApiClient, createApiClient, entityOf, isError } from './api-client.ts';
import { showPlan, showRollback } from './changes.ts';
import { findServer } from './demo-server.ts';
import { deploy, type Place, storeVersion } from './deploying.ts';
import { DemoFailure } from './failure.ts';
import { followStatus, LogFollower } from './followers.ts';
import { startProber } from './prober.ts';
import { showRefusal } from './second-user.ts';
import { heading, say } from './terminal.ts';
import { showWorkflow } from './workflow.ts';

const COMPOSE_FILE = new URL('../hello/compose.yaml', import.meta.url);
const BROKEN_COMMAND = ['node', '-e', "console.error('worker: my settings make no sense'); process.exit(1)"];

async function runDemo(interrupted: AbortSignal): Promise<void> {
  heading('A server');
  await using server = await findServer(process.env);
  say(server.isOwn ? `started one for this demo: ${server.url}` : `using the one at ${server.url}`);
  await using client = createApiClient(server.url);
  const account = await openAccount(client, process.env);
  say(`logged in as ${account.username}`);
  if (account.newPassword && !server.isOwn) {
    say(`this is the installation's first user: the password is ${account.newPassword} (keep it)`);
  }
  await showStory(client, server.url, interrupted);
  heading('How to go on');
  if (server.isOwn)
    say('npm start, then open http://127.0.0.1:4000/graphql: README.md has each step as a text to paste');
  else
    say(`open ${server.url}/graphql: the organization, the stack and all deployments with their logs are still there`);
}

async function showStory(client: ApiClient, url: string, interrupted: AbortSignal): Promise<void> {
  const compose = await readFile(COMPOSE_FILE, 'utf8');
  const place = await makePlace(client, compose);
  const first = await deploy(client, place, 'Deploy it, and watch every line live');
  let newest = first.id;
  const log = new LogFollower(client, first);
  const stopped = Promise.withResolvers<never>();
  interrupted.addEventListener('abort', () => stopped.reject(new DemoFailure('interrupted')));
  try {
    const story = async () => {
      const greeted = log.waitFor('three greetings', ({ message }) => message.endsWith('visitor 3'));
      const [live] = await Promise.all([followStatus(client, first.id, ['RUNNING']), greeted]);
      await showRestore(client, place, live, log, compose);
      const planned = await showPlan(client, place, compose);
      newest = planned.id;
      newest = (await showRollback(client, planned)).id;
      newest = await showWorkflow(client, place);
      await showRefusal(client, url, place);
    };
    await Promise.race([story(), stopped.promise]);
  } finally {
    heading('Take it down');
    await takeDown(client, newest);
  }
}

async function makePlace(client: ApiClient, compose: string): Promise<Place> {
  heading('An organization, an environment, a stack');
  const name = `Demo ${new Date().toISOString().slice(0, 19).replace('T', ' ')}`;
  const { organizationCreate } = await client.request(CreateOrganizationDocument, { input: { name } });
  const organization = entityOf(organizationCreate, 'creating an organization');
  const inOrganization = { organizationId: organization.id };
  const { environmentCreate } = await client.request(CreateEnvironmentDocument, {
    input: { ...inOrganization, name: 'Development' },
  });
  const environment = entityOf(environmentCreate, 'creating an environment');
  const { stackCreate } = await client.request(CreateStackDocument, {
    input: { ...inOrganization, name: 'Hello', compose },
  });
  const stack = entityOf(stackCreate, 'storing examples/hello/compose.yaml');
  const services = stack.currentVersion.services.map((service) => service.name).join(' and ');
  say(`"${organization.name}", "${environment.name}" on ${environment.runtime}, "${stack.name}" with ${services}`);
  return { organizationId: organization.id, stackId: stack.id, environmentId: environment.id };
}

async function showRestore(
  client: ApiClient,
  place: Place,
  live: DeploymentStateFragment,
  log: LogFollower,
  compose: string,
): Promise<void> {
  const broken = parseDocument(compose);
  broken.setIn(['services', 'worker', 'command'], BROKEN_COMMAND);
  await storeVersion(client, place, broken.toString());
  const web = webOf(live);
  await using prober = startProber(web.url);
  const second = await deploy(client, place, 'Break it: in version 2 the worker ends with code 1');
  new LogFollower(client, second);
  const failed = await followStatus(client, second.id, ['FAILED']);

  heading('What ran before was restored');
  say(`#${failed.number} failed: ${failed.statusReason}`);
  await log.waitFor(
    'a line of the restored worker',
    ({ service, stream }) => service === 'worker' && stream === 'STDOUT',
  );
  const restored = await followStatus(client, live.id, ['RUNNING']);
  if (webOf(restored).instance !== web.instance)
    throw new DemoFailure('web was replaced, though nothing of it changed');
  if (prober.failures > 0) throw new DemoFailure(`${prober.failures} of ${prober.requests} requests to web failed`);
  say(`web was never touched: ${prober.requests} requests to ${web.url} meanwhile, none failed`);
}

/** Where the service "web" is reached, and which instance of it that is. */
function webOf({ services }: DeploymentStateFragment): { url: string; instance: string } {
  const replica = services.find(({ name }) => name === 'web')?.replicas[0];
  const port = replica?.ports[0];
  if (!port) throw new DemoFailure('the service web has no port');
  return { url: `http://127.0.0.1:${port.published}/`, instance: replica.instance };
}

async function takeDown(client: ApiClient, deploymentId: string): Promise<void> {
  const { deploymentStop } = await client.request(StopDeploymentDocument, { input: { deploymentId } });
  if (deploymentStop && isError(deploymentStop)) {
    // Not live yet, after an interruption.
    await client.request(CancelDeploymentDocument, { input: { deploymentId } });
  }
  await followStatus(client, deploymentId, ['STOPPED', 'CANCELLED', 'FAILED']);
}

const interruption = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interruption.abort());
try {
  await runDemo(interruption.signal);
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof DemoFailure ? error.message : String((error as Error).stack)}`);
  process.exitCode = 1;
}
