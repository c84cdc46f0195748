import { z } from 'zod';
import type { ToolDeclaration } from '../../models/model.ts';
import { LOG_LEVELS } from '../../realtime/log-line.ts';
import { ExpectedError, reasonOf } from '../../shared/errors.ts';
import { decodeIdOf, encodeGlobalId } from '../../shared/global-id.ts';
import { type GuardedHttp, HttpRequestError } from '../../shared/guarded-http.ts';
import { parsePage } from '../../shared/pagination.ts';
import type { Deployments } from '../deployments/service.ts';
import { effectKey, StepFailure, type StepWork } from '../executions/procedure.ts';
import type { Access } from '../organizations/access.ts';
import type { Caller } from '../services.ts';
import type { Stacks } from '../stacks/service.ts';
import type { TOOL_NAMES } from './configuration.ts';

/** Of what a tool answers a model is told no more. */
const MAX_BODY_BYTES = 64 * 1024;
const MAX_LINES = 100;
const MAX_DEPLOYMENTS = 20;

export type ToolName = (typeof TOOL_NAMES)[number];

export type ToolBox = {
  declarations(names: readonly ToolName[]): ToolDeclaration[];
  /** @throws {StepFailure} with what is wrong, for the model */
  call(name: string, input: unknown, work: Pick<StepWork, 'execution' | 'step' | 'signal'>): Promise<unknown>;
};

export type ToolDependencies = {
  http: GuardedHttp;
  access: Access;
  deployments: Deployments;
  stacks: Stacks;
  /** In whose name an execution's tools act, and with whose rights, all of which they need: who made the agent, and who began the run. */
  principalsOf(work: Pick<StepWork, 'execution'>): Promise<{ maker: Caller; all: Caller[] }>;
};

type Context = { organizationId: string; maker: Caller; all: Caller[]; key: string; signal: AbortSignal };
type Tool = { declaration: ToolDeclaration; run(input: unknown, context: Context): Promise<unknown> };

const id = (type: string) => z.string().describe(`The global ID of ${type}.`);

/** What agents may use of the world. */
export function createToolBox(deps: ToolDependencies): ToolBox {
  const { http, access, deployments, stacks } = deps;

  const tools: Record<ToolName, Tool> = {
    'http.fetch': tool(
      'http.fetch',
      'Asks a server of the public internet, and returns its answer.',
      z.object({
        url: z.string(),
        method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']).default('GET'),
        headers: z.record(z.string(), z.string()).optional(),
        body: z.string().optional(),
      }),
      async (request, { signal }) => {
        const { status, headers, body, isCut, url } = await http.send({ ...request, signal, maxBytes: MAX_BODY_BYTES });
        return { status, contentType: headers['content-type'] ?? null, body, isCut, url };
      },
    ),
    'deployments.read': tool(
      'deployments.read',
      `Reads one deployment with its services, or the newest ${MAX_DEPLOYMENTS} of the organization, of a stack or of an environment.`,
      z.object({
        deploymentId: id('a deployment').optional(),
        stackId: id('a stack').optional(),
        environmentId: id('an environment').optional(),
      }),
      async ({ deploymentId, stackId, environmentId }, context) => {
        if (deploymentId !== undefined) {
          const found = await requireDeployment(deploymentId, 'deployment:read', context);
          const services = (await deployments.services([found])).get(found) ?? [];
          return { ...summaryOf((await deployments.find(context.maker, found))!), services };
        }
        const request = {
          filter: { stackId: given('Stack', stackId), environmentId: given('Environment', environmentId) },
          page: parsePage({ first: MAX_DEPLOYMENTS }),
        };
        const pages = await deployments.pages(context.maker, 'organization', [context.organizationId], request);
        return (pages.get(context.organizationId)?.edges ?? []).map(({ node }) => summaryOf(node));
      },
    ),
    'logs.search': tool(
      'logs.search',
      `Reads up to ${MAX_LINES} lines of a deployment's log, the newest: all, or those with a text in them.`,
      z.object({
        deploymentId: id('a deployment'),
        search: z.string().max(500).optional().describe('A literal text, without regard to case.'),
        minLevel: z.enum(LOG_LEVELS).optional(),
        services: z.array(z.string()).max(100).optional(),
      }),
      async ({ deploymentId, ...filter }, context) => {
        const found = await requireDeployment(deploymentId, 'deployment:read', context);
        const { edges } = await deployments.logPage(found, parsePage({ last: MAX_LINES }), filter);
        return edges.map(({ node: { timestamp, service, level, message } }) => ({
          timestamp,
          service,
          level,
          message,
        }));
      },
    ),
    'stacks.read': tool(
      'stacks.read',
      'Reads a stack with its current compose file.',
      z.object({ stackId: id('a stack') }),
      async ({ stackId }, context) => {
        const found = await requireStack(stackId, context);
        const version = await stacks.requireVersion(found.stackId, null);
        return { id: stackId, slug: found.stackSlug, version: version.number, compose: version.compose };
      },
    ),
    'deployments.create': tool(
      'deployments.create',
      'Deploys a stack to an environment; returns the deployment at once, while it is worked on.',
      z.object({
        stackId: id('a stack'),
        environmentId: id('an environment'),
        stackVersion: z.int().min(1).optional().describe('Absent: the current one.'),
        strategy: z.enum(['RECREATE', 'ROLLING', 'BLUE_GREEN']).optional(),
      }),
      async ({ stackId, environmentId, ...values }, context) => {
        const stack = await requireStack(stackId, context);
        const environment = decodeIdOf('Environment', environmentId);
        for (const principal of context.all)
          requireHere(await access.requireEnvironment(principal, environment, 'deployment:create'), context);
        const input = { ...values, stackId: stack.stackId, environmentId: environment, idempotencyKey: context.key };
        return summaryOf(await deployments.create(context.maker, input));
      },
    ),
    'deployments.rollback': tool(
      'deployments.rollback',
      'Runs what ran before a deployment again, exactly as it was.',
      z.object({ deploymentId: id('the deployment to go back from'), toDeploymentId: id('a deployment').optional() }),
      async ({ deploymentId, toDeploymentId }, context) => {
        const found = await requireDeployment(deploymentId, 'deployment:create', context);
        const to = toDeploymentId === undefined ? undefined : decodeIdOf('Deployment', toDeploymentId);
        const input = { deploymentId: found, toDeploymentId: to, idempotencyKey: context.key };
        return summaryOf(await deployments.rollback(context.maker, input));
      },
    ),
  };

  return {
    declarations: (names) => names.map((name) => tools[name].declaration),
    async call(name, input, { execution, step, signal }) {
      const { tools: names } = (execution.definition as { configuration: { tools: string[] } }).configuration;
      const used = names.includes(name) ? tools[name as ToolName] : undefined;
      if (!used)
        throw new StepFailure(`there is no tool ${JSON.stringify(name)}: there are ${names.join(', ') || 'none'}`);
      const principals = await deps.principalsOf({ execution });
      const context = {
        ...principals,
        organizationId: execution.organizationId,
        key: effectKey(execution, step),
        signal,
      };
      try {
        return await used.run(input, context);
      } catch (error) {
        if (signal.aborted) throw error;
        if (error instanceof ExpectedError) throw new StepFailure(reasonOf(error));
        if (error instanceof HttpRequestError) throw new StepFailure(error.message);
        throw error;
      }
    },
  };

  async function requireDeployment(
    globalId: string,
    permission: 'deployment:read' | 'deployment:create',
    context: Context,
  ): Promise<string> {
    const deploymentId = decodeIdOf('Deployment', globalId);
    for (const principal of context.all)
      requireHere(await access.requireDeployment(principal, deploymentId, permission), context);
    return deploymentId!;
  }

  async function requireStack(globalId: string, context: Context) {
    const stackId = decodeIdOf('Stack', globalId);
    const found = await access.requireStack(context.maker, stackId, 'stack:read');
    for (const principal of context.all)
      requireHere(await access.requireStack(principal, stackId, 'stack:read'), context);
    return found;
  }
}

/** Whoever made an agent may be in other organizations too: it is not. */
function requireHere(found: { organizationId: string }, { organizationId }: Context): void {
  if (found.organizationId !== organizationId) throw new StepFailure('it is not one of this organization');
}

function tool<Schema extends z.ZodType>(
  name: ToolName,
  description: string,
  schema: Schema,
  run: (input: z.output<Schema>, context: Context) => Promise<unknown>,
): Tool {
  const { $schema: _, ...inputSchema } = z.toJSONSchema(schema, { io: 'input', target: 'draft-7' });
  return {
    declaration: { name, description, inputSchema },
    async run(input, context) {
      const parsed = schema.safeParse(input);
      if (!parsed.success) {
        const faults = parsed.error.issues.map(
          ({ path, message }) => `${path.join('.') || 'the arguments'}: ${message}`,
        );
        throw new StepFailure(`these arguments cannot be used: ${faults.join('; ')}`);
      }
      return run(parsed.data, context);
    },
  };
}

/** Absent: no condition; malformed: nothing can match it. */
function given(type: string, globalId: string | undefined): string | null | undefined {
  return globalId === undefined ? undefined : decodeIdOf(type, globalId);
}

type Summarized = {
  id: string;
  number: number;
  status: string;
  statusReason: string | null;
  stackId: string;
  environmentId: string;
  createdAt: Date;
};

function summaryOf({ id: deploymentId, number, status, statusReason, stackId, environmentId, createdAt }: Summarized) {
  return {
    id: encodeGlobalId('Deployment', deploymentId),
    number,
    status,
    statusReason,
    stackId: encodeGlobalId('Stack', stackId),
    environmentId: encodeGlobalId('Environment', environmentId),
    createdAt,
  };
}
